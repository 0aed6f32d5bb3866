"""The command that makes a page of stored runs: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.runs import DEFAULT_RESULTS, RUN_HELP, ResultsDir
from harness.results import Store


@app.command(
    epilog="Examples:\n\n  harness report\n\n  harness report latest~1 latest --out page.html\n\n"
    "  harness report latest~2 latest~1 latest --markdown",
)
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(help=f"the first is the baseline of the others: {RUN_HELP}")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="the file to write")] = Path("report.html"),
    results_dir: ResultsDir = DEFAULT_RESULTS,
    markdown: Annotated[bool, typer.Option("--markdown", help="print the same figures as Markdown instead")] = False,
) -> None:
    """Make one HTML file of one or several runs: verdicts, pictures, tables and the raw data; no network needed."""
    store = Store(results_dir)
    found = [store.find(name) for name in runs or ["latest"]]
    # Imported here because the statistics take a second to load, and listing runs does not need them.
    from harness.report import to_markdown
    from harness.report.html import html_report, text_report, write_page

    if markdown:
        typer.echo(to_markdown(text_report(found)), nl=False)
        return
    write_page(out, html_report(found))
    typer.echo(f"{out} ({out.stat().st_size / 1e6:.1f} MB)")
