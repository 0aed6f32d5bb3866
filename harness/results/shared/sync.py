"""Upload whatever of a results folder is not yet in the results store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.store_errors import StoreFailed
from harness.results.errors import RunNotFound
from harness.results.every_table import TABLES
from harness.results.shared import shared_store
from harness.results.shared.upload import (
    Item,
    Uploaded,
    Uploader,
    ended_nightly_runs,
    ended_runs,
    kept_baselines,
)
from harness.results.store import Run, Store


@dataclass
class Sync:
    """Hold what there is to upload, and what has come of it so far."""

    items: list[Item]
    waiting: list[str]
    """Runs that have not ended, and nightly runs that can be resumed."""
    resumable: list[Item] = field(default_factory=list)
    """Nightly runs of ``waiting``, whose measurements so far are uploaded."""
    unfinished: list[str] = field(default_factory=list)
    """Those of them that had something new."""
    uploaded: list[Uploaded] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """By name, why it cannot be uploaded."""
    compacted: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By table, the number of files before and after."""
    doing: str = ""

    @property
    def done(self) -> int:
        return len(self.uploaded) + len(self.failed)

    @property
    def rest(self) -> tuple[list[Item], list[str]]:
        """Return what has not been tried, and the names of what the store already had."""
        return self.items[self.done :], [one.name for one in self.uploaded if not one.new]

    def carry_out(self, uploader: Uploader) -> None:
        """Upload one after the other; what is damaged is left out. Raises StoreFailed as soon as the store fails."""
        for item in self.items:
            self._take(uploader, item)
        for item in self.resumable:
            self._bring(uploader, item)

    def _bring(self, uploader: Uploader, item: Item) -> None:
        self._say(item.name)
        try:
            if uploader.send_so_far(item):
                self.unfinished.append(item.name)
        except StoreFailed:
            raise
        except HarnessError as error:
            self.failed[item.name] = str(error).splitlines()[0]

    def _take(self, uploader: Uploader, item: Item) -> None:
        try:
            self.uploaded.append(uploader.upload(item, self._say))
        except StoreFailed:
            raise
        except HarnessError as error:
            self.failed[item.name] = str(error).splitlines()[0]

    def compact(self, uploader: Uploader) -> None:
        """Write the many small files of each table as few large ones."""
        for table in TABLES.values():
            self._say(f"compacting {table.name}")
            self.compacted[table.name] = uploader.tables.compact(table)

    def _say(self, text: str) -> None:
        self.doing = text


def planned(results: Path, names: Collection[str] = ()) -> Sync:
    """Return what there is to upload in a results folder: everything, or the runs, nightly runs and baselines named.

    Raises RunNotFound for a name that is none of them.
    """
    store = Store(results)
    runs, going_on = ended_runs(store)
    nightly_runs, resumable = ended_nightly_runs(results)
    items = [*runs, *nightly_runs, *kept_baselines(results)]
    waiting = [*going_on, *(item.name for item in resumable)]
    if not names:
        return Sync(items, waiting, resumable)
    chosen: list[Item] = []
    for name in names:
        found = [item for item in items if item.name == name]
        if not found and name not in waiting:
            run = store.find(name)
            found = [item for item in runs if item.name == run.run_id]
            if not found:
                name = run.run_id
        if not found and name not in waiting:
            raise RunNotFound(f"{name} is no run, nightly run or baseline in {results}")
        chosen += found
    return Sync(
        list(dict.fromkeys(chosen)),
        [name for name in waiting if name in names],
        [item for item in resumable if item.name in names],
    )


def adopted(url: str, names: Collection[str]) -> Sync:
    """Return unfinished runs of machines that are gone, to be ended by what these had uploaded of them.

    Raises RunNotFound for one that the store does not have, or has whole.
    """
    store, items = shared_store(url), list[Item]()
    for name in names:
        if not store.goes_on("runs", name):
            raise RunNotFound(f"{name} is no unfinished run in {url}", cure=f"harness runs --results-url {url}")
        items.append(Item("runs", name, store.fetched("runs", name)))
    return Sync(items, [])


def upload_after(uploader: Uploader, results: Path, runs: Collection[str], nightly_runs: Collection[str]) -> None:
    """Upload what has just ended, with the nightly runs that judged these runs. Raises StoreFailed, RunDamaged."""
    for item in _ended(results, runs, nightly_runs):
        uploader.upload(item)


def _ended(results: Path, runs: Collection[str], nightly_runs: Collection[str]) -> Iterator[Item]:
    judged_by = set(nightly_runs)
    for name in runs:
        run = Run(results / name)
        yield Item("runs", name, run.folder)
        gate = run.manifest().gate
        judged_by |= {gate.night_id} if gate is not None else set()
    ended = {item.name: item for item in ended_nightly_runs(results)[0]}
    yield from (ended[name] for name in sorted(judged_by) if name in ended)
