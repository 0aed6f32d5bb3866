"""The three formats of a report as text that can be kept and compared: the page's, the terminal's, Markdown.

    python -m tests.report.formats

writes what they contain today of the stored runs in ``golden/`` over what is kept. Read the difference before it is
committed: each line of it is something that a reader will see.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.explain.schema import Explanation
from harness.report import to_markdown, to_terminal
from harness.report.explanation import explanation_report
from harness.report.html import explanation_page, html_report, text_report
from harness.report.profile import profile_report
from harness.results import Run, Store
from harness.results.nightly import nightly_runs
from tests.report.html.pages import embedded

GOLDEN = Path(__file__).parent / "golden"
EXPLANATION = "explanation.json"
KINDS = {
    **{folder.parent.name: folder for folder in sorted(GOLDEN.glob("*/runs"))},
    "apart": Path(__file__).parents[1] / "results" / "timed_apart",
    "explained": GOLDEN / "explained",
}
"""Folders of results: a run of words, of tensor workloads, of both, two compared, emulated, and from before both were
timed alternately; a run with a profile; a nightly run; a run beside a baseline. And the folder of an explanation."""
BLOCKS = {"h1", "h2", "h3", "h4", "p", "li", "tr", "figcaption", "summary", "dt", "pre", "div", "figure", "section"}
QUIET = {"script", "style", "head", "select", "button", "nav", "output", "label"}
VOID = {"input", "meta", "link", "br"}


def stored_runs(kind: str) -> list[Run]:
    """The runs of one kind, the oldest first."""
    return Store(KINDS[kind]).runs()


def formats(kind: str) -> dict[str, str]:
    """By the name of the file that keeps it."""
    explanation = KINDS[kind] / EXPLANATION
    if explanation.exists():
        found = Explanation.model_validate_json(explanation.read_text(encoding="utf-8"))
        blocks, page = explanation_report(found), explanation_page(found)
    else:
        runs, records = stored_runs(kind), nightly_runs(KINDS[kind])
        profiles = [block for run in runs for summary in run.profiles() for block in profile_report(summary)]
        blocks, page = [*text_report(runs, records), *profiles], html_report(runs, records)
    terminal = io.StringIO()
    to_terminal(blocks, Console(file=terminal, width=160))
    lines = "\n".join(line.rstrip() for line in terminal.getvalue().strip("\n").split("\n"))
    return {
        "terminal.txt": f"{lines}\n",
        "report.md": to_markdown(blocks),
        "page.txt": "\n".join(page_lines(page)) + "\n",
    }


def page_lines(page: str) -> Iterator[str]:
    """What a reader of the page sees, a line for each paragraph, row or picture, with its tone and its section."""
    figures = embedded(page, "figures")
    for line in _Reader(page).lines:
        name, text = line
        yield text
        if name:
            yield from picture_lines(figures[name])


def picture_lines(figure: dict[str, Any]) -> Iterator[str]:
    """What is drawn: the axes' titles, the rows' labels, and how many points each name has."""
    for axis in ("xaxis", "yaxis"):
        title = figure["layout"].get(axis, {}).get("title", {}).get("text")
        if title:
            yield f"    {axis[0]}: {title}"
    labels = figure["layout"].get("yaxis", {}).get("ticktext")
    # Ticks of a logarithmic axis are numbers, which the sentences of the picture contain already.
    if labels and figure["layout"]["yaxis"].get("type") != "log":
        yield f"    rows: {', '.join(labels)}"
    for trace in figure["data"]:
        if not trace["meta"].get("aside"):
            drawn = [y for x, y in zip(trace["x"], trace["y"], strict=True) if x is not None and y is not None]
            rows = list(dict.fromkeys(y for y in drawn if isinstance(y, str)))
            yield f"    {trace['name']}: {len(drawn)} drawn{' of ' + ', '.join(rows) if rows else ''}"


class _Reader(HTMLParser):
    """Lines of the page's text; those of a picture come with the picture's name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self._text: list[str] = []
        self._tone = ""
        self._quiet = 0
        self.feed(page)
        self._end()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in QUIET:
            self._quiet += 1
        if tag in BLOCKS:
            self._end()
        if tag in ("td", "th", "dd") and self._text:
            self._text.append(" | ")
        if tag == "section":
            self.lines.append(("", f"\n[{attributes.get('id', '')}]"))
        if tone := re.search(r"\btone-(good|bad|unsure)\b", attributes.get("class", "")):
            self._tone, mark = tone[1], f"{{{tone[1]}}} "
            self._text.append(mark)
        if "data-figure" in attributes:
            self.lines.append((attributes["data-figure"], f"  picture: {attributes['aria-label']}"))

    def handle_endtag(self, tag: str) -> None:
        if tag in QUIET:
            self._quiet -= 1
        if tag in BLOCKS:
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self._text.append(data)

    def _end(self) -> None:
        line = re.sub(r"\s+", " ", "".join(self._text)).strip()
        if line:
            self.lines.append(("", line))
        self._text = []


def main() -> None:
    for kind in KINDS:
        for name, text in formats(kind).items():
            path = GOLDEN / kind / name
            path.parent.mkdir(exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(f"{path} was written")


if __name__ == "__main__":
    main()
