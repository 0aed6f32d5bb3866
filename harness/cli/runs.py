"""Commands about stored runs: ``runs``, ``show``, ``compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.app import app
from harness.results import Manifest, Run, RunDamaged, RunVerdict, Store, Summary
from harness.shown import shown_line

ResultsDir = Annotated[Path, typer.Option("--results-dir", help="folder of the runs", show_default=True)]
Markdown = Annotated[bool, typer.Option("--markdown", help="print Markdown instead of terminal tables")]
RUN_HELP = "run id, its unique beginning, latest, or latest~1 for the one before"
DEFAULT_RESULTS = Path("results")

STYLES = {RunVerdict.PASS: "green", RunVerdict.FAIL: "bold red", RunVerdict.INCONCLUSIVE: "yellow"}


@app.command(
    epilog="Examples:\n\n  harness runs\n\n  harness runs --limit 0 --results-dir results",
)
def runs(
    results_dir: ResultsDir = DEFAULT_RESULTS,
    limit: Annotated[int, typer.Option(min=0, help="show only the latest; 0 shows all")] = 20,
) -> None:
    """List the stored runs, the latest first."""
    console = terminal()
    stored = Store(results_dir).runs()
    if not stored:
        console.print(f"There are no runs in {results_dir} yet. Make one: pytest suites --device host", markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("run", "status", "verdict", "device", "model", "words", "median ms", "of PyTorch"):
        table.add_column(title, justify="right" if title in ("words", "median ms", "of PyTorch") else "left")
    for run in reversed(stored[-limit:]):
        table.add_row(*_row(run))
    console.print(table)
    if limit and len(stored) > limit:
        console.print(f"and {len(stored) - limit} older ones (--limit 0 shows all)", markup=False)


def _row(run: Run) -> list[Text]:
    """One line of a run, damaged ones included."""
    try:
        manifest, summary = run.manifest(), run.summary()
    except RunDamaged as error:
        return [Text(run.run_id), Text("damaged", style="red"), Text(str(error).splitlines()[0])]
    verdict = summary.verdict if summary else RunVerdict.INCONCLUSIVE
    return [
        Text(run.run_id),
        Text(manifest.status.value),
        Text(verdict.value, style=STYLES[verdict]),
        Text(shown_line(str(manifest.device.get("name", "–")))),
        Text(shown_line(manifest.checkpoint.label) if manifest.checkpoint else "–"),
        *(Text(shown_line(cell)) for cell in _figures(manifest, summary)),
    ]


def _figures(manifest: Manifest, summary: Summary | None) -> tuple[str, str, str]:
    words = str(manifest.words.count) if manifest.words else "–"
    median = f"{summary.artifact.warm.median / 1e6:.3f}" if summary and summary.artifact else "–"
    if manifest.emulated and median != "–":
        median += " (emulated)"
    return words, median, f"×{summary.ratio.ratio:.3f}" if summary and summary.ratio else "–"


@app.command(epilog="Examples:\n\n  harness show latest\n\n  harness show 20260501-1200 --markdown > report.md")
def show(
    run: Annotated[str, typer.Argument(help=RUN_HELP)] = "latest",
    results_dir: ResultsDir = DEFAULT_RESULTS,
    markdown: Markdown = False,
) -> None:
    """Show one run: verdict, parity, accuracy, latency, facts."""
    found = Store(results_dir).find(run)
    # Imported here because the statistics take a second to load, and listing runs does not need them.
    from harness.report import render, report_run

    render(report_run(found), markdown=markdown, console=terminal())


@app.command(
    epilog="Examples:\n\n  harness compare latest~1 latest\n\n  harness compare 20260501 latest --markdown > c.md"
)
def compare(
    run_a: Annotated[str, typer.Argument(help=f"the baseline: {RUN_HELP}")],
    run_b: Annotated[str, typer.Argument(help="the candidate, named alike")],
    results_dir: ResultsDir = DEFAULT_RESULTS,
    markdown: Markdown = False,
) -> None:
    """Compare two runs word by word: latency, accuracy, parity, and whatever else differs."""
    store = Store(results_dir)
    a, b = store.find(run_a), store.find(run_b)
    from harness.report import compare_runs, render

    render(compare_runs(a, b), markdown=markdown, console=terminal())


def terminal() -> Console:
    """On a pipe rich would assume 80 columns and fold the tables; there the lines may be long."""
    return Console(width=None if sys.stdout.isatty() else 160)
