"""Commands about baselines: ``baseline set | list | show | rm``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cache import Cache
from harness.cli.app import app
from harness.results import Store
from harness.results.baselines import Baseline, BaselineDamaged, Baselines
from harness.shown import shown_json, shown_line

baseline_app = typer.Typer(help="Runs kept with their runner and archive, to be measured again beside a candidate.")
app.add_typer(baseline_app, name="baseline")

ResultsDir = Annotated[Path, typer.Option("--results-dir", help="folder of the runs", show_default=True)]
Name = Annotated[str, typer.Argument(help="of the baseline")]
DEFAULT_RESULTS = Path("results")
MIB = 1 << 20


@baseline_app.command("set", epilog="Examples:\n\n  harness baseline set latest --name release-1.4")
def set_baseline(
    run: Annotated[str, typer.Argument(help="run id, its unique beginning, latest, or latest~1")] = "latest",
    name: Annotated[str | None, typer.Option(help="the run's id unless given")] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
) -> None:
    """Keep a run's runner and archive, copied out of the cache."""
    kept = Baselines(results_dir).set(
        Store(results_dir).find(run), name, cache=Cache(notice=lambda message: print(message, file=sys.stderr))
    )
    print(kept.name)


@baseline_app.command("list")
def list_baselines(results_dir: ResultsDir = DEFAULT_RESULTS) -> None:
    """List the baselines."""
    baselines = Baselines(results_dir)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("baseline", "run", "commit", "models", "device", "variants", "MiB"):
        table.add_column(title, justify="right" if title == "MiB" else "left")
    for name in baselines.names():
        table.add_row(*_row(baselines, name))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _row(baselines: Baselines, name: str) -> list[Text]:
    """One line of a baseline, damaged ones included."""
    try:
        return [Text(shown_line(cell)) for cell in _facts(baselines.get(name))]
    except BaselineDamaged:
        return [Text(name), Text("damaged", style="red")]


def _facts(baseline: Baseline) -> list[str]:
    manifest = baseline.manifest
    sizes = {facts.runner_sha256: facts.runner_bytes + facts.archive_bytes for facts in baseline.timed.values()}
    size = sum(sizes.values())
    return [
        baseline.name,
        manifest.run_id,
        manifest.git.commit[:12] + (" + changes" if manifest.git.dirty else "") if manifest.git else "–",
        ", ".join(
            [*([manifest.checkpoint.label] if baseline.variants and manifest.checkpoint else []), *baseline.models]
        ),
        str(manifest.device.get("name", "–")),
        ", ".join(baseline.variants) or "–",
        f"{size / MIB:.1f}",
    ]


@baseline_app.command("show")
def show_baseline(name: Name, results_dir: ResultsDir = DEFAULT_RESULTS) -> None:
    """Print everything that is known of a baseline as JSON, and check its files."""
    baselines = Baselines(results_dir)
    found = baselines.get(name)
    for which in found.timed:
        baselines.runner(name, which)
    print(shown_json(found.model_dump_json(indent=1)))


@baseline_app.command("rm")
def remove_baseline(name: Name, results_dir: ResultsDir = DEFAULT_RESULTS) -> None:
    """Remove a baseline and the files that no other one shares."""
    freed = Baselines(results_dir).remove(name)
    print(f"{name}: removed, {freed / MIB:.1f} MiB freed")
