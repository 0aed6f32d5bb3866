"""Define the commands about baselines: ``baseline set | list | show | rm``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.machine import RemovalDocument, RemovedRow
from harness.cli.documents.nightly import BaselineDocument, BaselineLine, baseline_document, baselines_document
from harness.cli.options import DEFAULT_RESULTS, Json, ResultsDir, ResultsUrl, RunName, stored
from harness.cli.output import cell, note, print_json, print_line, print_table
from harness.cli.units import size_text
from harness.core.cache import Cache
from harness.results import Store
from harness.results.baselines import Baselines

baseline_app = typer.Typer(
    help="Runs kept with their runner and archive, to be measured again with a candidate.",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness baseline set latest --name release-1.4\n\n  harness baseline list",
)
app.add_typer(baseline_app, name="baseline")

Name = Annotated[str, typer.Argument(metavar="NAME", help="of the baseline", autocompletion=completion.baselines)]
TITLES = ("baseline", "run", "commit", "models", "device", "variants", "MiB")
DASH = "–"
MIB = 1 << 20


@baseline_app.command(
    "set",
    epilog="Examples:\n\n  harness baseline set latest --name release-1.4"
    "\n\n  harness baseline set latest --name virtual --emulated",
)
def set_baseline(
    run: RunName = "latest",
    name: Annotated[str | None, typer.Option(help="the run's id unless given")] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="also a run on an emulated device, for `harness nightly --emulated`")
    ] = False,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Keep a run's runner and archive, copied out of the cache."""
    kept = Baselines(results_dir).set(Store(results_dir).find(run), name, cache=Cache(notice=note), emulated=emulated)
    if as_json:
        print_json(baseline_document(kept))
    else:
        print_line(kept.name)


@baseline_app.command("list", epilog="Examples:\n\n  harness baseline list\n\n  harness baseline list --json")
def list_baselines(
    results_dir: ResultsDir = DEFAULT_RESULTS, results_url: ResultsUrl = None, as_json: Json = False
) -> None:
    """List the baselines."""
    store = stored(results_dir, results_url)
    document = baselines_document(store.with_baselines(), store.place)
    if as_json:
        print_json(document)
    elif document.baselines:
        print_table(TITLES, map(_row, document.baselines), right=("MiB",))
    else:
        note(f"there are no baselines in {store.place} yet\n  → harness baseline set latest --name NAME")


def _row(line: BaselineLine) -> list[Text]:
    """Return one row for a baseline, also for a damaged one."""
    if line.damage is not None:
        return [cell(line.name), cell("damaged", "red")]
    models = [*([line.checkpoint] if line.checkpoint else []), *line.models]
    return [
        cell(line.name),
        cell(line.run or DASH),
        cell(_commit(line)),
        cell(", ".join(models)),
        cell(line.device or DASH),
        cell(", ".join(line.variants) or DASH),
        cell(f"{(line.bytes or 0) / MIB:.1f}"),
    ]


def _commit(line: BaselineLine) -> str:
    return line.git.commit[:12] + (" + changes" if line.git.dirty else "") if line.git else DASH


@baseline_app.command("show", epilog="Examples:\n\n  harness baseline show release-1.4 --json")
def show_baseline(
    name: Name, results_dir: ResultsDir = DEFAULT_RESULTS, results_url: ResultsUrl = None, as_json: Json = False
) -> None:
    """Show what is known of a baseline, and check its files."""
    baselines = Baselines(stored(results_dir, results_url).with_baselines(name))
    found = baselines.get(name)
    for which in found.timed:
        baselines.runner(name, which)
    document = baseline_document(found)
    if as_json:
        print_json(document)
    else:
        _show(document)


def _show(document: BaselineDocument) -> None:
    line = document.baseline
    facts = (
        ("baseline", line.name),
        ("run", line.run or DASH),
        ("created", line.created or DASH),
        ("commit", _commit(line)),
        ("device", line.device or DASH),
        ("checkpoint", line.checkpoint or DASH),
    )
    print_table(("", ""), facts)
    rows = [
        (
            kept.name,
            kept.target,
            f"{kept.runner_sha256[:12]} ({size_text(kept.runner_bytes)})",
            f"{kept.archive_sha256[:12]} ({size_text(kept.archive_bytes)})",
        )
        for kept in document.kept
    ]
    print_table(("kept", "target", "runner", "archive"), rows)


@baseline_app.command("rm", epilog="Examples:\n\n  harness baseline rm release-1.4")
def remove_baseline(name: Name, results_dir: ResultsDir = DEFAULT_RESULTS, as_json: Json = False) -> None:
    """Remove a baseline and the files that no other one shares."""
    freed = Baselines(results_dir).remove(name)
    if as_json:
        removed = [RemovedRow(name=name, bytes=freed)]
        print_json(RemovalDocument(root=str(results_dir), dry_run=False, removed=removed, kept=[], freed_bytes=freed))
    else:
        print_line(f"{name}: removed, {size_text(freed)} freed")
