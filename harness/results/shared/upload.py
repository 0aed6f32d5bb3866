"""Upload runs, nightly runs and baselines to a results store, so that an interruption costs nothing.

Files go first, each under the hash of its contents; then the rows, a transaction for each table; then the marker. What
was interrupted is done again from the beginning, and finds what is there. A *receipt* below the results folder has the
state of the files when they were uploaded, so that what has not changed is not read again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

from harness.core.cache import content_key
from harness.core.errors import HarnessError
from harness.results.baselines import FOLDER as BASELINES
from harness.results.baselines import Baselines, objects_of
from harness.results.errors import RunDamaged, writing
from harness.results.every_table import TABLES
from harness.results.files import being_written, write_text_atomically
from harness.results.journal import read_plan
from harness.results.nightly import VERDICTS, nightly_folders
from harness.results.removal import going_on
from harness.results.shared.delta import DeltaTables, Partition
from harness.results.shared.folders import file_state, files_of
from harness.results.shared.following import PartUploader, send_so_far
from harness.results.shared.remote import FileFacts, Kind, Marker, Remote
from harness.results.shared.rows import rows_of
from harness.results.shared.unfinished import Unfinished
from harness.results.store import Run, Store
from harness.results.tables import RUN, Table

RECEIPTS = ".uploaded"


@dataclass(frozen=True)
class Item:
    """A run, nightly run or baseline of a results folder, with its files by their names in the store."""

    kind: Kind
    name: str
    folder: Path

    def files(self) -> dict[str, Path]:
        if self.kind == "baselines":
            kept = Baselines(self.folder.parent)
            objects = sorted(objects_of(kept.get(self.name)))
            return {f"{self.name}.json": kept.folder / f"{self.name}.json"} | {
                f"objects/{sha256}": kept.folder / "objects" / sha256 for sha256 in objects
            }
        return files_of(self.folder)

    def tables(self) -> list[Table]:
        """Return the tables that have its rows; a run in the last one has all of its rows."""
        if self.kind == "baselines":
            return []
        key = RUN if self.kind == "runs" else "night"
        found = [table for table in TABLES.values() if table.key == key]
        return [*found[1:], found[0]]

    def partition(self) -> Partition:
        try:
            if self.kind == "runs":
                kinds = {Run(self.folder).manifest().device.get("kind")}
            else:
                kinds = {facts.get("kind") for facts in read_plan(self.folder).facts.values()}
        except RunDamaged:
            kinds = set()
        return Partition.of(self.name, {str(kind) for kind in kinds if kind})


@dataclass(frozen=True)
class Uploaded:
    """What came of one item. ``rows`` are those that this upload appended."""

    kind: Kind
    name: str
    files: int
    bytes: int
    rows: int
    new: bool
    """Whether it was missing in the store, or different there."""


class Uploader:
    """Upload to one store. Raises StoreFailed, RunDamaged, BaselineDamaged."""

    def __init__(self, url: str, *, patience: timedelta) -> None:
        self.remote = Remote(url, patience=patience)
        self.tables = DeltaTables(self.remote.url, patience=patience)
        self._there: dict[Kind, dict[str, str]] = {}
        self._unfinished = Unfinished(self.remote.files)
        self._parts = PartUploader(self.remote.files)
        self._partly: dict[Kind, dict[str, str]] = {}

    def lacks(self, item: Item) -> bool:
        """Return whether the store may lack the current item, without reading its files; also for a damaged one."""
        if item.name not in self._names(item.kind):
            return True
        try:
            state = {name: file_state(path) for name, path in item.files().items()}
        except (HarnessError, OSError):
            return True
        return _Receipt(item, self.remote.url).state != state

    def upload(self, item: Item, progress: Callable[[str], None] | None = None) -> Uploaded:
        """Make sure that the store has the current run, nightly run or baseline, and nothing unfinished of it."""
        found = self._upload(item, progress or (lambda _: None))
        if item.name in self._names_of_unfinished(item.kind):
            self._unfinished.remove(item.kind, item.name)
            del self._partly[item.kind][item.name]
        return found

    def send_so_far(self, item: Item) -> bool:
        """Make sure that the store has what a nightly run that can be resumed has so far; return if it lacked any."""
        if read_plan(item.folder).calibrate:
            return False
        return send_so_far(self._parts, item.kind, item.folder)

    def _upload(self, item: Item, say: Callable[[str], None]) -> Uploaded:
        files = item.files()
        state = {name: file_state(path) for name, path in files.items()}
        receipt = _Receipt(item, self.remote.url)
        if item.name in self._names(item.kind) and receipt.state == state:
            return Uploaded(item.kind, item.name, len(files), 0, 0, False)
        known = self.remote.marker(item.kind, item.name)
        say(f"{item.name}: {len(files)} files")
        try:
            with tempfile.TemporaryDirectory(prefix="harness-upload-") as snapshots:
                facts = self.remote.put_files(files, Path(snapshots))
        except FileNotFoundError as error:
            raise RunDamaged(f"{error.filename} went away while it was uploaded", cure="try again") from error
        if known is not None and known.files == facts:
            receipt.write(state)
            return Uploaded(item.kind, item.name, len(files), 0, 0, False)
        generation = 1 if known is None else known.generation + _rows_changed(item, known, facts)
        rows = 0
        if known is None or generation > known.generation:
            rows = self._append(item, generation, say)
        self.remote.put_marker(item.kind, Marker(name=item.name, generation=generation, files=facts))
        self._names(item.kind)[item.name] = ""
        receipt.write(state)
        size = sum(one.bytes for one in facts.values())
        return Uploaded(item.kind, item.name, len(files), size, rows, True)

    def _append(self, item: Item, generation: int, say: Callable[[str], None]) -> int:
        partition, appended = item.partition(), 0
        for table in item.tables():
            say(f"{item.name}: {table.name}")
            if generation == 1 and self.tables.has(table, item.name):
                continue
            with rows_of(table, item.folder, partition) as rows:
                if rows is not None and self.tables.append(table, item.name, generation, rows):
                    appended += rows.shape[0]
        return appended

    def _names(self, kind: Kind) -> dict[str, str]:
        """Return what the store has of a kind; it is listed once."""
        if kind not in self._there:
            self._there[kind] = self.remote.names(kind)
        return self._there[kind]

    def _names_of_unfinished(self, kind: Kind) -> dict[str, str]:
        if kind not in self._partly:
            self._partly[kind] = self._unfinished.names(kind)
        return self._partly[kind]


def ended_runs(store: Store, wanted: set[str] | None = None) -> tuple[list[Item], list[str]]:
    """Return the runs to upload, and the ids of those that have not ended."""
    items, waiting = [], []
    for run in store.runs():
        if wanted is not None and run.run_id not in wanted:
            continue
        if _goes_on(run):
            waiting.append(run.run_id)
        else:
            items.append(Item("runs", run.run_id, run.folder))
    return items, waiting


def _goes_on(run: Run) -> bool:
    """Return whether a run is being written. One whose process was killed is not; only its last lines are missing."""
    known = being_written(run.folder)
    if known is None:
        return bool(going_on(run))
    try:
        return known and run.manifest().ended is None
    except RunDamaged:
        return False


def ended_nightly_runs(results: Path) -> tuple[list[Item], list[Item]]:
    """Return the nightly runs to upload, and those that can be resumed; calibrations are nobody else's."""
    items, waiting = list[Item](), list[Item]()
    for folder in nightly_folders(results):
        ended = (folder / VERDICTS).is_file()
        (items if ended else waiting).append(Item("nightly", folder.name, folder))
    return items, waiting


def kept_baselines(results: Path) -> list[Item]:
    """Return all baselines, damaged ones included."""
    return [Item("baselines", name, results / BASELINES) for name in Baselines(results).names()]


class _Receipt:
    """Keep the state of an item's files when it was uploaded to a store."""

    def __init__(self, item: Item, url: str) -> None:
        results = item.folder.parents[1] if item.kind == "nightly" else item.folder.parent
        self._path = results / RECEIPTS / content_key({"store": url}) / item.kind / f"{item.name}.json"

    @cached_property
    def state(self) -> dict[str, str] | None:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, state: dict[str, str]) -> None:
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self._path, json.dumps(state))


def _rows_changed(item: Item, known: Marker, facts: dict[str, FileFacts]) -> bool:
    """Return whether a file of which rows are made is another than in the store."""
    sources = {name for table in item.tables() for name in table.files}
    return any(known.files.get(name) != facts.get(name) for name in sources)
