"""Define the commands about stored runs: ``runs`` and ``runs rm``, ``show``, ``compare``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.run import run_document
from harness.cli.documents.runs import ModelLine, Ratio, RunLine, runs_document
from harness.cli.options import (
    DEFAULT_RESULTS,
    FIRST_RUN,
    RUN_HELP,
    AnyResultsDir,
    Json,
    Markdown,
    MarkdownCommand,
    ResultsDir,
    ResultsUrl,
    RunName,
    existing,
    stored,
)
from harness.cli.output import cell, exclusive, note, print_json, print_table, terminal, write_markdown
from harness.cli.removal import DryRun, Force, Yes, remove, show_removal
from harness.cli.units import AGE, parse_age
from harness.core.errors import UsageError
from harness.models.ways import WAYS
from harness.results import RunVerdict, Store
from harness.results.schema.pairs import APART, INCONCLUSIVE

STYLES = {RunVerdict.PASS: "green", RunVerdict.FAIL: "bold red", RunVerdict.INCONCLUSIVE: "yellow"}
TITLES = ("run", "status", "verdict", "device", "models", "precision", "items", "median ms", "of PyTorch")
DASH = "–"

runs_app = typer.Typer(
    invoke_without_command=True,
    epilog="Examples:\n\n  harness runs\n\n  harness runs --limit 0 --json\n\n  harness runs rm --older-than 30d",
)
app.add_typer(runs_app, name="runs")


@runs_app.callback()
def runs(
    context: typer.Context,
    results_dir: AnyResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    limit: Annotated[int, typer.Option(min=0, help="show only the latest; 0 shows all")] = 20,
    as_json: Json = False,
) -> None:
    """List the stored runs, the latest first; `runs rm` removes some."""
    if context.invoked_subcommand is not None:
        return
    store = stored(results_dir if results_url else existing(results_dir), results_url)
    document = runs_document(store.place, store.runs(), limit)
    if as_json:
        print_json(document)
        return
    if not document.runs:
        note(f"there are no runs in {store.place} yet\n  → {FIRST_RUN}")
        return
    print_table(TITLES, map(_row, document.runs), right=TITLES[6:])
    if document.stored > len(document.runs):
        note(f"and {document.stored - len(document.runs)} older ones (--limit 0 shows all)")


def _row(line: RunLine) -> list[Text]:
    """Return one row for a run, also for a damaged one."""
    if line.verdict is None:
        return [cell(line.run), cell("damaged", "red"), cell((line.damage or "").splitlines()[0])]
    emulated = line.device is not None and line.device.emulated
    return [
        cell(line.run),
        cell(line.status),
        cell(line.verdict.value, STYLES[line.verdict]),
        cell(line.device.name if line.device else DASH),
        cell(_each([_called(model) for model in line.models])),
        cell(line.precision or DASH),
        cell(
            _each(
                [f"{model.items} of {model.items_of}" if model.items_of else str(model.items) for model in line.models]
            )
        ),
        cell(_each([_median(model, emulated) for model in line.models])),
        cell(_each([_ratio(model.ratio) for model in line.models])),
    ]


def _each(cells: list[str]) -> str:
    """Join one text for each model, in the models' order."""
    return ", ".join(cells) or DASH


def _called(model: ModelLine) -> str:
    return f"{model.name} ({model.source})" if WAYS[model.kind].labelled else model.name


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return DASH
    if found.ratio is None:
        return INCONCLUSIVE
    return f"×{found.ratio:.3f}{'' if found.together else f' ({APART})'}"


def _median(model: ModelLine, emulated: bool) -> str:
    if model.median_ns is None:
        return DASH
    return f"{model.median_ns / 1e6:.3f}{' (emulated)' if emulated else ''}"


@runs_app.command(
    "rm",
    epilog="Examples:\n\n  harness runs rm 20260501-1200 latest~3\n\n  harness runs rm --older-than 30d --dry-run"
    "\n\n  harness runs rm --keep 100 --yes",
)
def remove_runs(
    context: typer.Context,
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN…", help=RUN_HELP, autocompletion=completion.runs)
    ] = None,
    older: Annotated[
        timedelta | None,
        typer.Option("--older-than", metavar=AGE, parser=parse_age, help="all that began so long ago, such as 30d"),
    ] = None,
    keep: Annotated[int | None, typer.Option(min=0, metavar="N", help="all but the latest N")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    force: Force = False,
    results_dir: Annotated[
        Path | None, typer.Option("--results-dir", metavar="DIR", help="folder of the runs", show_default="results")
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove stored runs; those that a baseline or a nightly run refers to stay unless forced."""
    exclusive({"RUN": runs, "--older-than": older, "--keep": keep is not None})
    if not runs and older is None and keep is None:
        raise UsageError("no run was named", cure="name runs, or give --older-than 30d or --keep 100")
    # Imported here because nightly runs bring the statistics along, and listing runs does not need them.
    from harness.results.removal import RunRemoval, older_than

    of_list: Path = context.parent.params["results_dir"] if context.parent else DEFAULT_RESULTS
    root = existing(results_dir or of_list)
    store = Store(root)
    if runs:
        chosen = list({run.run_id: run for run in map(store.find, runs)}.values())
    elif older is not None:
        chosen = older_than(store.runs(), older)
    else:
        stored = store.runs()
        chosen = stored[: max(0, len(stored) - (keep or 0))]
    removal = RunRemoval(root, chosen, force=force)
    show_removal(remove(removal, "run", dry_run=dry_run, yes=yes, as_json=as_json), as_json=as_json)


@app.command(
    cls=MarkdownCommand,
    epilog="Examples:\n\n  harness show latest\n\n  harness show latest --json\n\n"
    "  harness show 20260501-1200 --markdown report.md",
)
def show(
    run: RunName = "latest",
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    markdown: Markdown = None,
    as_json: Json = False,
) -> None:
    """Show one run: verdict, parity, accuracy, latency, facts."""
    exclusive({"--markdown": markdown, "--json": as_json})
    found = stored(results_dir, results_url).find(run)
    # Imported here because the statistics take a second to load, and listing runs does not need them.
    from harness.report import report_run, to_markdown, to_terminal
    from harness.results.summarize import summarize_run

    if as_json:
        print_json(run_document(found.manifest(), summarize_run(found)))
    elif markdown is not None:
        write_markdown(to_markdown(report_run(found)), markdown)
    else:
        to_terminal(report_run(found), terminal())


@app.command(
    cls=MarkdownCommand,
    epilog="Examples:\n\n  harness compare latest~1 latest\n\n  harness compare 20260501 latest --json\n\n"
    "  harness compare 20260501 latest --markdown c.md",
)
def compare(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help=f"the baseline: {RUN_HELP}", autocompletion=completion.runs)
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="the candidate, named alike", autocompletion=completion.runs)
    ],
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    markdown: Markdown = None,
    as_json: Json = False,
) -> None:
    """Compare two runs word by word: latency, accuracy, parity, and whatever else differs."""
    exclusive({"--markdown": markdown, "--json": as_json})
    store = stored(results_dir, results_url)
    found = store.find(run_a), store.find(run_b)
    from harness.cli.documents.comparison import comparison_document
    from harness.report import compare_runs, sides, to_markdown, to_terminal

    if as_json:
        print_json(comparison_document(*sides(*found)))
    elif markdown is not None:
        write_markdown(to_markdown(compare_runs(*found)), markdown)
    else:
        to_terminal(compare_runs(*found), terminal())
