"""Read the runs, nightly runs and baselines of a results store as those of a folder.

Each file is fetched when it is first needed, into the user's cache, and hashed there. It is fetched again only if its
run has changed in the store. One listing of a store's markers shows whether they have.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.cache import cache_root, content_key
from harness.core.store_errors import StoreDamaged
from harness.results.errors import RunNotFound, writing
from harness.results.every_table import TABLES
from harness.results.files import write_text_atomically
from harness.results.shared import PATIENCE
from harness.results.store import RUN_ID, Run, Store

if TYPE_CHECKING:
    import duckdb

    from harness.results.shared.delta import DeltaTables, TableFile
    from harness.results.shared.reading import SharedColumns
    from harness.results.shared.remote import Kind, Marker, Remote
    from harness.results.shared.unfinished import Unfinished

TOGETHER = 16
"""Files that are fetched at once."""
MARKERS = ".markers"
UNFINISHED = "unfinished"
PLAN, VERDICTS = "plan.json", "verdicts.json"


class SharedRun(Run):
    """A run of a results store. A file is fetched when it is asked for; ``folder`` is the whole run."""

    def __init__(self, store: SharedStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def folder(self) -> Path:  # type: ignore[override]
        return self._store.fetched("runs", self._run_id)

    def path(self, name: str) -> Path:
        return self._store.fetched("runs", self._run_id, [name]) / name


class SharedStore(Store):
    """Hold the results of a results store; ``root`` is where they are in the cache, in the form of a results folder.

    Raises StoreFailed, StorageFull and StorageUnwritable.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(cache_root() / "results" / content_key({"store": self.url}))

    @property
    def place(self) -> str:
        return self.url

    @cached_property
    def _remote(self) -> Remote:
        from harness.results.shared.remote import Remote

        return Remote(self.url, patience=PATIENCE)

    @cached_property
    def _tables(self) -> DeltaTables:
        from harness.results.shared.delta import DeltaTables

        return DeltaTables(self.url, patience=PATIENCE)

    @cached_property
    def _names(self) -> dict[Kind, dict[str, str]]:
        return {}

    @cached_property
    def _unfinished(self) -> Unfinished:
        from harness.results.shared.unfinished import Unfinished

        return Unfinished(self._remote.files)

    def names(self, kind: Kind) -> dict[str, str]:
        """Return what the store has of a kind, as :meth:`Remote.names` does, and what has not ended."""
        if kind not in self._names:
            # What ends between the two is in both of them, and what is whole counts.
            going_on = {} if kind == "baselines" else self._unfinished.names(kind)
            self._names[kind] = dict(sorted((going_on | self._remote.names(kind)).items()))
        return self._names[kind]

    def goes_on(self, kind: Kind, name: str) -> bool:
        """Return whether the store only has a part of a run, which has not ended or whose client was killed."""
        return self.names(kind).get(name, "").startswith(UNFINISHED)

    def runs(self) -> list[Run]:
        return [SharedRun(self, name) for name in self.names("runs") if RUN_ID.fullmatch(name)]

    def files(self, table: str) -> list[TableFile]:
        """Return the files that hold a table's rows."""
        return self._tables.files(TABLES[table])

    def columns(self, connection: duckdb.DuckDBPyConnection) -> SharedColumns:
        """Return what makes the tables views of a connection."""
        from harness.results.shared.reading import SharedColumns

        return SharedColumns(self.url, self._remote.files.objects, self._tables, connection)

    def with_nightly_runs(self, name: str | None = None) -> Path:
        """Return ``root`` with the plans and verdicts of all nightly runs, and all files of one, by its id or start."""
        names = [one for one in self.names("nightly") if RUN_ID.fullmatch(one)]
        self._fetch_all("nightly", {one: None if _means(name, one, names) else [PLAN, VERDICTS] for one in names})
        for gone in (self.root / "nightly").glob("*/"):
            if gone.name not in names:
                shutil.rmtree(gone, ignore_errors=True)
        return self.root

    def with_baselines(self, name: str | None = None) -> Path:
        """Return ``root`` with the descriptions of all baselines, and all files of one."""
        names = list(self.names("baselines"))
        self._fetch_all("baselines", {one: None if one == name else [f"{one}.json"] for one in names})
        for gone in (self.root / "baselines").glob("*.json"):
            if gone.stem not in names:
                gone.unlink(missing_ok=True)
        return self.root

    def fetched(self, kind: Kind, name: str, only: list[str] | None = None) -> Path:
        """Return the folder of a run, nightly run or baseline, with these files in it, or with all."""
        if self.goes_on(kind, name):
            try:
                return self._fetched_so_far(kind, name, only)
            except (StoreDamaged, RunNotFound):
                self._names.pop(kind)  # it may have ended meanwhile
                if self.goes_on(kind, name):
                    raise
        marker = self._marker(kind, name)
        folder = self._folder(kind, name)
        receipt = self.root / MARKERS / kind / f"{name}.files.json"
        have = _read(receipt)
        wanted = {file: facts for file, facts in marker.files.items() if only is None or file in only}
        missing = {
            file: facts
            for file, facts in wanted.items()
            if have.get(file) != facts.sha256 or not _has(folder / file, facts.bytes)
        }
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for file, facts in missing.items():
            with writing(folder / file):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                self._remote.files.fetch(facts.sha256, folder / file)
                if kind == "baselines" and file.startswith("objects/"):
                    (folder / file).chmod(0o755)
        if missing:
            write_text_atomically(receipt, json.dumps(have | {file: one.sha256 for file, one in missing.items()}))
        return folder

    def _fetched_so_far(self, kind: Kind, name: str, only: list[str] | None) -> Path:
        """Return the folder of a run that has not ended, with what the store has of these files, or of all."""
        marker = self._unfinished.marker(kind, name)
        if marker is None:
            raise RunNotFound(f"{name} is no longer in {self.url}")
        folder = self._folder(kind, name)
        receipt = self.root / MARKERS / kind / f"{name}.files.json"
        have, new = _read(receipt), dict[str, str]()
        for file, parts in marker.files.items():
            hashes = ",".join(part.sha256 for part in parts)
            if (only is not None and file not in only) or (
                have.get(file) == hashes and _has(folder / file, sum(part.bytes for part in parts))
            ):
                continue
            with writing(folder / file):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                self._unfinished.fetch(name, parts, folder / file)
            new[file] = hashes
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            receipt.parent.mkdir(parents=True, exist_ok=True)
        if new:
            write_text_atomically(receipt, json.dumps(have | new))
        return folder

    def _folder(self, kind: Kind, name: str) -> Path:
        return self.root / {"runs": name, "nightly": f"nightly/{name}", "baselines": "baselines"}[kind]

    def _fetch_all(self, kind: Kind, wanted: dict[str, list[str] | None]) -> None:
        with ThreadPoolExecutor(TOGETHER) as pool:
            for _ in pool.map(lambda one: self.fetched(kind, *one), wanted.items()):
                pass

    def _marker(self, kind: Kind, name: str) -> Marker:
        """Return a marker, from the cache if the store's is the same."""
        from harness.results.shared.remote import Marker

        state = self.names(kind).get(name)
        if state is None:
            raise RunNotFound(f"{name} is not in {self.url}")
        path = self.root / MARKERS / kind / f"{name}.json"
        kept = _read(path)
        if kept.get("state") == state:
            with contextlib.suppress(ValueError):
                return Marker.model_validate_json(kept.get("marker", ""))
        found = self._remote.marker(kind, name)
        if found is None:
            raise RunNotFound(f"{name} is no longer in {self.url}")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps({"state": state, "marker": found.model_dump_json()}))
        return found


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _means(name: str | None, one: str, names: list[str]) -> bool:
    """Return whether a name, such as ``latest`` or the beginning of an id, may mean that nightly run."""
    return name is not None and (one.startswith(name) or (name == "latest" and one == names[-1]))


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
