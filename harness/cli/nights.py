"""``harness nights``: the nights that were, listed, or one of them again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.app import app
from harness.results.errors import RunDamaged, writing
from harness.results.nights import NightRecord, find_night, night_folders, read_night
from harness.shown import shown_line

ResultsDir = Annotated[Path, typer.Option("--results-dir", help="folder of the runs", show_default=True)]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="append a summary for a pull request; - for standard output"),
]
JUnit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="write JUnit XML")]
DEFAULT_RESULTS = Path("results")
STDOUT = Path("-")
STYLES = {"pass": "green", "fail": "bold red"}


@app.command(
    "nights",
    epilog="Examples:\n\n  harness nights\n\n  harness nights latest"
    "\n\n  harness nights 20260501 --markdown - --junit night.xml",
)
def show_nights(
    night: Annotated[str | None, typer.Argument(help="id, its unique beginning, or latest; all unless given")] = None,
    limit: Annotated[int, typer.Option(min=0, help="list only the latest; 0 lists all")] = 20,
    markdown: Markdown = None,
    junit: JUnit = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
) -> None:
    """List the nights of `harness nightly` and of `pytest suites --baseline`, or show one as it was shown then."""
    if night is None:
        _list(results_dir, limit)
    else:
        show_night(read_night(find_night(results_dir, night)), markdown=markdown, junit=junit)


def show_night(record: NightRecord, *, markdown: Path | None, junit: Path | None) -> None:
    """On the terminal, or as Markdown instead where that goes to standard output; files beside it.

    Raises StorageFull or StorageUnwritable.
    """
    from harness.report import to_markdown, to_terminal
    from harness.report.junit import night_junit
    from harness.report.night import night_report

    blocks = night_report(record)
    if markdown == STDOUT:
        sys.stdout.write(to_markdown(blocks))
    else:
        to_terminal(blocks, Console(width=None if sys.stdout.isatty() else 160))
    if markdown is not None and markdown != STDOUT:
        # GitHub's step summary is one file that several steps append to.
        with writing(markdown), markdown.open("a", encoding="utf-8") as file:
            file.write(to_markdown(blocks))
    if junit is not None:
        partial = junit.with_name(f".{junit.name}.{os.getpid()}.partial")
        try:
            with writing(junit):
                partial.write_text(night_junit(record), encoding="utf-8")
                partial.replace(junit)
        finally:
            partial.unlink(missing_ok=True)


def _list(results: Path, limit: int) -> None:
    folders = night_folders(results)
    if not folders:
        print(f"There are no nights in {results} yet. Begin one: harness nightly --baseline NAME")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("night", "verdict", "A", "B", "cells", "latency"):
        table.add_column(title)
    for folder in reversed(folders[-limit:]):
        table.add_row(*_row(folder))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if limit and len(folders) > limit:
        print(f"and {len(folders) - limit} older ones (--limit 0 lists all)")


def _row(folder: Path) -> list[Text]:
    """One line of a night, damaged ones included."""
    from harness.measure import LATENCY
    from harness.report.night import change

    try:
        record = read_night(folder)
    except RunDamaged as error:
        return [Text(folder.name), Text("damaged", style="red"), Text(str(error).splitlines()[0])]
    plan, units = record.plan, record.verdicts.units if record.verdicts else []
    whole = [f"{unit.unit} {change(cell)}" for unit in units for cell in unit.cells if cell.metric == LATENCY]
    slowed = f" (slowed by {record.slowed:g} % on purpose)" if record.slowed else ""
    return [
        Text(record.night_id),
        Text(record.state, style=STYLES.get(record.state, "yellow")),
        Text(shown_line(plan.baseline)),
        Text(shown_line((plan.candidate or plan.run or "the sources") + slowed)),
        Text(str(sum(len(unit.cells) for unit in units) or "–")),
        Text(shown_line(", ".join(whole))),
    ]
