"""Remove stored runs: first rename them, then delete them, so that an interruption leaves no half of a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

from harness.core.cache import folder_size
from harness.results.baselines import BaselineDamaged, Baselines
from harness.results.errors import RunDamaged, writing
from harness.results.journal import read_plan
from harness.results.nightly import nightly_folders
from harness.results.store import Run

REMOVED = ".removed-"
"""The prefix of a run's folder during removal; no command takes such a folder for a run."""
STILL_RUNNING = timedelta(hours=1)
"""An unfinished run that was written to so recently may not have ended."""


def older_than(runs: Sequence[Run], age: timedelta, now: datetime | None = None) -> list[Run]:
    """Return the runs that began longer ago than ``age``, by their ids; ids contain the time in UTC."""
    try:
        limit = (now or datetime.now(timezone.utc)) - age
    except OverflowError:
        return []
    return [run for run in runs if run.run_id < f"{limit:%Y%m%d-%H%M%S}"]


class RunRemoval:
    """Remove ``runs`` below ``root``; with ``force`` also those that something refers to."""

    def __init__(self, root: Path, runs: Sequence[Run], *, force: bool = False) -> None:
        self.root = root
        self._runs = runs
        self._force = force

    @cached_property
    def kept(self) -> dict[str, str]:
        """Return the runs that stay, and why."""
        if self._force or not self._runs:
            return {}
        referred, unknown = references(self.root)
        found = {run.run_id: referred.get(run.run_id) or unknown or going_on(run) for run in self._runs}
        return {run: reason for run, reason in found.items() if reason}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Return the runs that will be removed, with the bytes that this frees."""
        return {
            run.run_id: 0 if run.folder.is_symlink() else folder_size(run.folder)
            for run in self._runs
            if run.run_id not in self.kept
        }

    def carry_out(self) -> dict[str, int]:
        """Remove the runs, and the leftovers of an interrupted removal; raises StorageUnwritable."""
        for left in self.root.glob(f"{REMOVED}*"):
            _delete(left)
        for name in self.sizes:
            removed = self.root / f"{REMOVED}{name}"
            with writing(self.root / name):
                (self.root / name).rename(removed)
            _delete(removed)
        return self.sizes


def references(root: Path) -> tuple[dict[str, str], str]:
    """Return the runs that a baseline or a nightly run refers to, with the reason.

    The second value is why the list is incomplete; it is empty if the list is complete.
    """
    baselines = Baselines(root)
    found = [_of_baseline(baselines, name) for name in baselines.names()]
    found += [_of_nightly(folder) for folder in nightly_folders(root)]
    unknown = [f"{reason}, so what it refers to is unknown" for run, reason in found if run is None and reason]
    return {run: reason for run, reason in found if run is not None}, next(iter(unknown), "")


def _of_baseline(baselines: Baselines, name: str) -> tuple[str | None, str]:
    """Return a baseline's run and the reason to keep it; the run is None if the baseline cannot be read."""
    try:
        return baselines.get(name).manifest.run_id, f"baseline {name} was made from it"
    except BaselineDamaged:
        return None, f"baseline {name} cannot be read"


def _of_nightly(folder: Path) -> tuple[str | None, str]:
    try:
        run = read_plan(folder).run
    except RunDamaged:
        return None, f"nightly run {folder.name} cannot be read"
    return run, "" if run is None else f"nightly run {folder.name} belongs to it"


def going_on(run: Run) -> str:
    """Return why a run may still be written to; empty if it is not."""
    try:
        if run.manifest().ended is not None:
            return ""
    except RunDamaged:
        return ""
    written = max((path.stat().st_mtime for path in run.folder.iterdir() if path.is_file()), default=0.0)
    age = datetime.now(timezone.utc) - datetime.fromtimestamp(written, timezone.utc)
    return "it has not ended, and was written to within the last hour" if age < STILL_RUNNING else ""


def _delete(folder: Path) -> None:
    """Delete a folder, but never the target of a link. Raises StorageUnwritable."""
    with writing(folder):
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
