"""Define ``harness nights``: list the nightly runs, or show one of them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.nightly import NightlyLine, nightly_document, nightly_runs_document
from harness.cli.options import (
    DEFAULT_RESULTS,
    Json,
    Markdown,
    MarkdownCommand,
    ResultsDir,
    ResultsUrl,
    stored,
)
from harness.cli.output import STDOUT, cell, exclusive, note, print_json, print_table, terminal, write_markdown
from harness.core.files import replacing
from harness.results.errors import writing
from harness.results.nightly import NightlyRecord, find_nightly, nightly_folders, read_nightly

JUnit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="write JUnit XML")]
STYLES = {"pass": "green", "fail": "bold red", "damaged": "red"}
TITLES = ("nightly run", "verdict", "A", "B", "cells", "latency")


@app.command(
    "nights",
    cls=MarkdownCommand,
    epilog="Examples:\n\n  harness nights\n\n  harness nights latest"
    "\n\n  harness nights 20260501 --markdown - --junit nightly.xml"
    "\n\n  harness nights latest --json",
)
def list_or_show(
    nightly: Annotated[
        str | None,
        typer.Argument(
            metavar="NIGHTLY",
            help="id, its unique beginning, or latest; all unless given",
            autocompletion=completion.nightly_runs,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="list only the latest; 0 lists all")] = 20,
    markdown: Markdown = None,
    junit: JUnit = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    as_json: Json = False,
) -> None:
    """List the nightly runs, also those of `pytest suites --baseline`, or show one as it was shown then."""
    store = stored(results_dir, results_url)
    found = store.with_nightly_runs(nightly)
    if nightly is None:
        _list(found, store.place, limit, as_json=as_json)
    else:
        record = read_nightly(find_nightly(found, nightly))
        show_nightly(record, markdown=markdown, junit=junit, as_json=as_json)


def show_nightly(record: NightlyRecord, *, markdown: Path | None, junit: Path | None, as_json: bool = False) -> None:
    """Show a nightly run on the terminal, or as Markdown or JSON if that goes to standard output; also write files.

    Raises StorageFull or StorageUnwritable.
    """
    exclusive({"--markdown -": markdown == STDOUT, "--json": as_json})
    from harness.report import to_markdown, to_terminal
    from harness.report.junit import nightly_junit
    from harness.report.nightly import nightly_report

    blocks = nightly_report(record)
    if as_json:
        print_json(nightly_document(record))
    elif markdown != STDOUT:
        to_terminal(blocks, terminal())
    if markdown is not None:
        write_markdown(to_markdown(blocks), markdown)
    if junit is not None:
        with writing(junit), replacing(junit) as partial:
            partial.write_text(nightly_junit(record), encoding="utf-8")


def _list(results: Path, place: str, limit: int, *, as_json: bool) -> None:
    document = nightly_runs_document(place, nightly_folders(results), limit)
    if as_json:
        print_json(document)
        return
    if not document.nights:
        note(f"there are no nightly runs in {place} yet\n  → harness nightly --baseline NAME")
        return
    print_table(TITLES, map(_row, document.nights))
    if document.stored > len(document.nights):
        note(f"and {document.stored - len(document.nights)} older ones (--limit 0 lists all)")


def _row(line: NightlyLine) -> list[Text]:
    """Return one row for a nightly run, also for a damaged one."""
    from harness.measure import LATENCY
    from harness.report.nightly import change

    if line.damage is not None:
        return [cell(line.night), cell("damaged", "red"), cell(line.damage.splitlines()[0])]
    whole = [f"{unit.unit} {change(one)}" for unit in line.units for one in unit.cells if one.metric == LATENCY]
    slowed = f" (slowed by {line.slowed_percent:g} % on purpose)" if line.slowed_percent else ""
    return [
        cell(line.night),
        cell(line.state, STYLES.get(line.state, "yellow")),
        cell(line.baseline or ""),
        cell((line.candidate or line.run or "the sources") + slowed),
        cell(sum(len(unit.cells) for unit in line.units) or "–"),
        cell(", ".join(whole)),
    ]
