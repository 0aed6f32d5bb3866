"""Complete arguments in a shell, as far as a listing of folders allows it."""

from __future__ import annotations

from pathlib import Path

import typer


def runs(context: typer.Context) -> list[str]:
    """Complete the id of a run, the latest first."""
    from harness.results import Store

    return ["latest", *(run.run_id for run in reversed(Store(_results(context)).runs()))]


def nightly_runs(context: typer.Context) -> list[str]:
    """Complete the id of a nightly run, the latest first."""
    from harness.results.nightly import nightly_folders

    return ["latest", *(folder.name for folder in reversed(nightly_folders(_results(context))))]


def runs_and_nightly_runs(context: typer.Context) -> list[str]:
    return [*runs(context), *nightly_runs(context)[1:]]


def baselines(context: typer.Context) -> list[str]:
    """Complete the name of a baseline."""
    from harness.results.baselines import Baselines

    return Baselines(_results(context)).names()


def devices() -> list[str]:
    """Complete a kind of device. Attached phones are not asked for: that can take seconds."""
    from harness.devices.kinds import device_kinds

    kinds = device_kinds().values()
    return [spec for kind in kinds for spec in (kind.name, *([f"{kind.name}:all"] if kind.attaches else []))]


def _results(context: typer.Context) -> Path:
    return Path(context.params.get("results_dir") or "results")
