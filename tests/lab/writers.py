"""Clients of a results store, which a test may kill: each uploads a results folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deltalake  # noqa: F401 - a writer's process is forked from one that has imported it
import duckdb  # noqa: F401
import obstore  # noqa: F401

from harness.devices import RunResult
from harness.regression.nightly import NightlyRun
from harness.results import Store
from harness.results.every_table import TABLES
from harness.results.history import query
from harness.results.journal import read_plan
from harness.results.schema import Manifest
from harness.results.shared import followed, shared_store, uploader
from harness.results.shared.sync import planned
from tests.nightly import FakeDevice


def copies(results: Path, original: Path, ids: list[str]) -> None:
    """Put copies of a run into a results folder, each under an id of its own."""
    results.mkdir(parents=True, exist_ok=True)
    for run_id in ids:
        folder = results / run_id
        shutil.copytree(original, folder)
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        text = manifest.model_copy(update={"run_id": run_id}).model_dump_json()
        (folder / "manifest.json").write_text(text, encoding="utf-8")


def numbered(first: int, count: int) -> list[str]:
    """Return ids of runs."""
    return [f"20261130-120000-{number:03d}-abcd" for number in range(first, first + count)]


def upload_all(results: str, url: str, environment: Mapping[str, str], kill_at: str = "") -> None:
    """Upload a results folder, in a process of its own; ``kill_at`` is the step at which it kills itself."""
    os.environ.update(environment)
    plan, to = planned(Path(results)), uploader(url)

    def watch(text: str) -> None:
        if kill_at and kill_at in text:
            os.kill(os.getpid(), signal.SIGKILL)

    for item in plan.items:
        to.upload(item, watch)


def differences(url: str, *folders: Path) -> list[str]:
    """Return what a results store has otherwise than these results folders: nothing lost, and nothing twice."""
    found: list[str] = []
    shared = shared_store(url)
    local: list[Store] = [Store(folder) for folder in folders]
    runs = sorted(run.run_id for store in local for run in store.runs())
    if (there := sorted(run.run_id for run in shared.runs())) != runs:
        found.append(f"the runs {there} instead of {runs}")
    counts = [
        f"SELECT '{table.name}', {table.key}, count(*) FROM {table.name} GROUP BY ALL" for table in TABLES.values()
    ]
    here, away = Counter[str](), Counter[str]()
    sides: list[tuple[Counter[str], list[Store]]] = [(here, local), (away, [shared])]
    for counter, stores in sides:
        for store in stores:
            for table, run, count in query(store, " UNION ALL ".join(counts)).rows:
                counter[f"{table} of {run}"] += count
    found += [f"{name}: {away[name]} instead of {here[name]}" for name in here | away if here[name] != away[name]]
    for store in local:
        for run in store.runs():
            if run.run_id not in there:
                continue
            fetched = shared.find(run.run_id).folder
            files = [path.relative_to(run.folder) for path in run.folder.rglob("*") if path.is_file()]
            others = [path for path in files if (run.folder / path).read_bytes() != (fetched / path).read_bytes()]
            found += [f"{run.run_id}: {path}" for path in others]
    return found


class _PausingDevice(FakeDevice):
    """A device whose next run never ends after so many runs."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self._runs = runs

    def run(self, *arguments: Any, **more: Any) -> RunResult:
        if len(self.ran) == self._runs:
            threading.Event().wait()
        return super().run(*arguments, **more)


def measure_nightly(results: str, night: str, url: str, environment: Mapping[str, str], runs: int) -> None:
    """Measure a nightly run, in a process of its own, until it has made so many runs; then wait to be killed."""
    os.environ.update(environment)
    import harness.results.shared.following

    harness.results.shared.following.LOOK_SECONDS = 0.1
    folder = Path(results, "nightly", night)
    plan = read_plan(folder)
    with followed(url, Path(results), night, print):
        NightlyRun(folder, plan, {"phone": _PausingDevice(runs)}, notify=lambda _: None).run()
