"""Keep rows of many runs as columns: Parquet segments in the user's cache, made from the run folders on first use.

A segment holds one table's rows of many runs. Its index lists these runs and the state of their files. New
and changed runs go into a segment of their own. If a table has many segments, they are merged into one. Nothing here
is worth keeping: everything missing or damaged is made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from harness.core.cache import CacheBusy, cache_root, content_key
from harness.results.errors import RunDamaged, writing
from harness.results.schema import SCHEMA_VERSION
from harness.results.store import Store
from harness.results.tables import FolderTable, LineTable, Table

if TYPE_CHECKING:
    import duckdb

MOST_SEGMENTS = 8
LOCK_SECONDS = 120.0
_GLOB = "[*?"

State = dict[str, str]
"""The state of the files of each run or nightly run."""


@dataclass(frozen=True)
class Segment:
    path: Path
    runs: State

    @property
    def index(self) -> Path:
        return self.path.with_suffix(".json")

    def remove(self) -> None:
        """Remove the segment, its index first: rows without an index count as leftovers."""
        self.index.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class ColumnStore:
    """Hold the segments of one results folder."""

    def __init__(self, store: Store, connection: duckdb.DuckDBPyConnection, root: Path | None = None) -> None:
        self._store = store
        self._connection = connection
        self.folder = (root or cache_root()) / "history" / content_key({"results": str(store.root.resolve())})

    @property
    def readable(self) -> list[str]:
        """Return the folder that queries may read, as it is and as a pattern: DuckDB checks a path as it is written."""
        return [str(self.folder.absolute()), escape_glob(self.folder)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the segments; raises CacheBusy if another process holds them for two minutes."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise CacheBusy(f"another query has been reading the runs for {LOCK_SECONDS:.0f} s") from error
        try:
            yield
        finally:
            lock.release()

    def view(self, table: Table) -> None:
        """Make ``table`` a view of the connection, over all runs as they are now; the lock has to be held."""
        folders = {folder.name: folder for folder in table.folders(self._store)}
        wanted = {name: _state(folder, table) for name, folder in folders.items()}
        segments = list(self._segments(table))
        known: State = {}
        for segment in segments:
            known |= segment.runs
        missing = {run: state for run, state in wanted.items() if known.get(run) != state}
        if missing:
            segments.append(self._write(table, missing, folders))
        segments = self._without_dead(segments, wanted)
        if len(segments) > MOST_SEGMENTS:
            segments = self._merged(table, segments, wanted)
        self._connection.execute(f"CREATE VIEW {table.name} AS {_union(table, segments, wanted)}")

    def clear(self) -> None:
        """Forget all segments; the lock has to be held."""
        for folder in self.folder.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, table: Table) -> Path:
        # The columns' definitions are part of the name, so that a changed table never uses old segments.
        what = {key: str(value) for key, value in vars(table).items() if key != "rows"}
        return self.folder / f"{table.name}-{content_key({'schema': SCHEMA_VERSION, **what})[:12]}"

    def _segments(self, table: Table) -> Iterator[Segment]:
        """Yield the whole segments, the newest first, each without the runs that a later one contains again."""
        found: list[Segment] = []
        folder = self._folder(table)
        for path in [*folder.glob("*.parquet")]:
            segment = Segment(path, {})
            try:
                index = json.loads(segment.index.read_bytes())
                whole = path.stat().st_size == index["bytes"]
                found += [Segment(path, dict(index["runs"]))] if whole else []
            except (OSError, ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                segment.remove()
        found.sort(key=lambda segment: segment.path.name)
        later: set[str] = set()
        for segment in reversed(found):
            yield Segment(segment.path, {run: state for run, state in segment.runs.items() if run not in later})
            later |= set(segment.runs)

    def _write(self, table: Table, runs: State, folders: Mapping[str, Path]) -> Segment:
        if isinstance(table, LineTable):
            return self._save(table, *self._lines(table, sorted(runs)), runs)
        assert isinstance(table, FolderTable)
        return self._from_rows(table, runs, folders)

    def _lines(self, table: LineTable, runs: Sequence[str]) -> tuple[str, list[Any]]:
        return select_lines(table, [self._store.root / run / table.files[0] for run in runs])

    def _from_rows(self, table: FolderTable, runs: State, folders: Mapping[str, Path]) -> Segment:
        """Write a segment through a file of JSON lines, because DuckDB takes rows from Python slowly, one at a time."""
        lines = self._folder(table) / f".{uuid.uuid4().hex}.jsonl"
        try:
            return self._save(table, *select_rows(table, [folders[run] for run in sorted(runs)], lines), runs)
        finally:
            lines.unlink(missing_ok=True)

    def _save(self, table: Table, select: str, parameters: list[Any], runs: State) -> Segment:
        """Write a whole segment or none: the rows first, then the index by a rename."""
        import duckdb

        folder = self._folder(table)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        number = max((int(path.name.split("-")[0]) for path in folder.glob("*.parquet")), default=0) + 1
        segment = Segment(folder / f"{number:09d}-{uuid.uuid4().hex[:8]}.parquet", runs)
        partial = segment.index.with_suffix(".partial")
        try:
            statement = f"COPY ({select}) TO {quote(str(segment.path))} (FORMAT parquet, COMPRESSION zstd)"
            self._connection.execute(statement, {"paths": parameters[0]} if parameters else None)
            with writing(partial):
                partial.write_text(json.dumps({"bytes": segment.path.stat().st_size, "runs": runs}), encoding="utf-8")
                partial.replace(segment.index)
        except duckdb.Error as error:
            segment.path.unlink(missing_ok=True)
            raise RunDamaged(
                f"the {table.name} of {len(runs)} runs in {self._store.root} cannot be read: {error}",
                cure="if runs are being deleted or the disk is full, try again when that is over",
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return segment

    def _without_dead(self, segments: Sequence[Segment], wanted: State) -> list[Segment]:
        """Remove the segments whose runs have all changed; return the others."""
        alive = []
        for segment in segments:
            if _live(segment, wanted):
                alive.append(segment)
            else:
                segment.remove()
        return alive

    def _merged(self, table: Table, segments: Sequence[Segment], wanted: State) -> list[Segment]:
        whole = self._save(table, _union(table, segments, wanted), [], wanted)
        for segment in segments:
            segment.remove()
        return [whole]


def select_lines(table: LineTable, paths: Sequence[Path]) -> tuple[str, list[Any]]:
    """Return the SELECT over the lines of these files, and its parameters. Lines that are not JSON give NULLs.

    Each file is in the folder of its run.
    """
    readable = [escape_glob(path) for path in paths if os.access(path, os.R_OK) and path.stat().st_size]
    if not readable:
        return _nothing(table), []
    source = ", ".join(f"{quote(name)}: {quote(kind)}" for name, kind in table.source.items())
    columns = ", ".join(
        f"CAST({table.select[name]} AS {kind}) AS {name}" for name, kind in table.columns.items() if name != "run"
    )
    return (
        f"SELECT parse_filename(parse_dirpath(filename)) AS run, {columns} FROM read_json($paths, "
        f"columns = {{{source}}}, format = 'newline_delimited', ignore_errors = true, filename = true) "
        f"WHERE {table.where}",
        [readable],
    )


def select_rows(table: FolderTable, folders: Sequence[Path], lines: Path) -> tuple[str, list[Any]]:
    """Write the rows of these folders to ``lines``; return the SELECT over them, and its parameters."""
    with writing(lines):
        lines.parent.mkdir(parents=True, exist_ok=True)
        with lines.open("w", encoding="utf-8") as file:
            for folder in folders:
                for row in table.rows(folder):
                    file.write(json.dumps(row) + "\n")
    columns = ", ".join(f"{quote(name)}: {quote(kind)}" for name, kind in table.columns.items())
    select = f"SELECT * FROM read_json($paths, columns = {{{columns}}}, format = 'newline_delimited')"
    return select, [[escape_glob(lines)]]


def _state(folder: Path, table: Table) -> str:
    """Return size and modification time of the table's files; if they differ, the files are read again."""
    return " ".join(_file_state(folder / name) for name in table.files)


def _file_state(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "absent"
    return f"{found.st_size}.{found.st_mtime_ns}"


def _live(segment: Segment, wanted: State) -> list[str]:
    return [run for run, state in segment.runs.items() if wanted.get(run) == state]


def _union(table: Table, segments: Sequence[Segment], wanted: State) -> str:
    parts = []
    for segment in segments:
        live = _live(segment, wanted)
        held = json.loads(segment.index.read_bytes())["runs"]
        if live:
            dead = sorted(set(held) - set(live))
            only = f" WHERE {table.key} NOT IN ({', '.join(map(quote, dead))})" if dead else ""
            parts.append(f"SELECT * FROM read_parquet({quote(escape_glob(segment.path))}){only}")
    return " UNION ALL ".join(parts) or _nothing(table)


def _nothing(table: Table) -> str:
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote_name(name)}" for name, kind in table.columns.items())
    return f"SELECT {columns} WHERE false"


def quote(text: str) -> str:
    """Return a text as a string in SQL."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return a name as a column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def escape_glob(path: Path) -> str:
    """Return a path in which DuckDB treats no character as a pattern."""
    return "".join(f"[{letter}]" if letter in _GLOB else letter for letter in str(path.absolute()))
