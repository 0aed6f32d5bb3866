"""Use the baselines and nightly runs of everybody in a nightly run that is made here."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files import replacing
from harness.devices import Notify
from harness.results.baselines import FOLDER, OBJECTS, Baselines, objects_of
from harness.results.errors import writing
from harness.results.nightly import NightlyRecord, nightly_runs
from harness.results.shared import shared_store


def borrow_baseline(url: str, name: str, results: Path, notify: Notify) -> None:
    """Copy a baseline of the store into a results folder that lacks it; an existing one is kept unchanged.

    Raises StoreFailed, StorageFull or StorageUnwritable. A name that the store lacks, too, is for the caller to
    report.
    """
    if name in Baselines(results).names():
        return
    store = shared_store(url)
    if name not in store.names("baselines"):
        return
    lent = Baselines(store.with_baselines(name))
    target = results / FOLDER
    with writing(target):
        (target / OBJECTS).mkdir(parents=True, exist_ok=True)
    for file in [*(f"{OBJECTS}/{sha256}" for sha256 in sorted(objects_of(lent.get(name)))), f"{name}.json"]:
        with writing(target / file), replacing(target / file) as partial:
            shutil.copy2(lent.folder / file, partial)
    notify(f"baseline {name} came from {url}")


def nightly_runs_of_all(url: str | None, notify: Notify) -> list[NightlyRecord]:
    """Return the nightly runs of the store, for drift; none without a store, or if it cannot be reached."""
    if url is None:
        return []
    try:
        return nightly_runs(shared_store(url).with_nightly_runs())
    except HarnessError as error:
        notify(f"drift is looked for in the nightly runs of this machine alone: {str(error).splitlines()[0]}")
        return []
