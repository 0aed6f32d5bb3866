"""Give DuckDB the files of a store's Delta tables, and nothing else.

A folder's files DuckDB reads by itself. Those of an object store it reads through an fsspec file system, in the ranges
that a query needs: the columns that it mentions, of the row groups that its conditions leave.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import obstore
from fsspec.spec import AbstractFileSystem
from obstore.exceptions import BaseError

from harness.core.store import folder_of, short
from harness.core.store_errors import StoreFailed
from harness.results.columnar import escape_glob, quote, quote_name
from harness.results.shared import DEVICE_KIND, MONTH
from harness.results.shared.delta import FOLDER, DeltaTables
from harness.results.tables import Table

if TYPE_CHECKING:
    import duckdb
    from obstore.store import ObjectStore

SCHEME = "harness-results"
SMALL = 1 << 20
"""Smaller files are fetched whole, since a request takes longer than their bytes."""
TAIL = 1 << 18
"""The end of a larger file, which describes it and is asked for first."""


class SharedColumns:
    """Make the tables of a results store views of a DuckDB connection."""

    def __init__(self, url: str, objects: ObjectStore, tables: DeltaTables, connection: duckdb.DuckDBPyConnection):
        self._tables, self._connection, self.url = tables, connection, url
        self._folder = folder_of(url)
        self._ranges = None if self._folder else _Ranges(objects)
        if self._ranges is not None:
            connection.register_filesystem(self._ranges)

    @property
    def readable(self) -> list[str]:
        """Return the folders that queries may read."""
        if self._folder is None:
            return [f"{SCHEME}://"]
        below = self._folder / FOLDER
        return [str(below.absolute()), escape_glob(below)]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing has to be locked: a table's files never change."""
        yield

    def view(self, table: Table) -> None:
        """Make ``table`` a view, over the rows that it has now."""
        files = self._tables.files(table)
        extra = [MONTH, DEVICE_KIND]
        if not files:
            kinds = {**table.columns, **dict.fromkeys(extra, "VARCHAR")}
            columns = ", ".join(f"CAST(NULL AS {kind}) AS {quote_name(name)}" for name, kind in kinds.items())
            self._connection.execute(f"CREATE VIEW {table.name} AS SELECT {columns} WHERE false")
            return
        if self._folder is not None:
            paths = [escape_glob(self._folder / FOLDER / table.name / one.path) for one in files]
        else:
            assert self._ranges is not None
            paths = [f"{SCHEME}://{FOLDER}/{table.name}/{one.path}" for one in files]
            self._ranges.sizes |= {path: one.size for path, one in zip(paths, files, strict=True)}
        columns = ", ".join([_column(name, kind) for name, kind in table.columns.items()] + extra)
        self._connection.execute(
            f"CREATE VIEW {table.name} AS SELECT {columns} FROM read_parquet([{', '.join(map(quote, paths))}], "
            f"hive_partitioning = true, hive_types = {{{MONTH}: VARCHAR, {DEVICE_KIND}: VARCHAR}})"
        )


def _column(name: str, kind: str) -> str:
    return f"CAST({quote_name(name)} AS JSON) AS {quote_name(name)}" if kind == "JSON" else quote_name(name)


class _Ranges(AbstractFileSystem):  # type: ignore[misc]
    """Read ranges of the files that a table's log names. DuckDB calls it from several threads."""

    protocol = SCHEME
    cachable = False

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__()
        self._objects = objects
        self.sizes: dict[str, int] = {}
        """By the whole address."""
        self._kept: dict[str, tuple[int, bytes]] = {}
        self._lock = threading.Lock()

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path: none of them is a pattern. DuckDB asks for it for each path."""
        return [path.removeprefix(f"{SCHEME}://")] if self._address(path) in self.sizes else []

    def exists(self, path: str, **_: Any) -> bool:
        return self._address(path) in self.sizes

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def size(self, path: str) -> int:
        return self.sizes[self._address(path)]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        if not self.exists(path):
            raise FileNotFoundError(path)
        return {"name": path, "size": self.size(path), "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return a moment that never changes, as the files never do."""
        return datetime(2000, 1, 1, tzinfo=timezone.utc)

    def open(self, path: str, mode: str = "rb", **_: Any) -> _File:
        if mode != "rb" or not self.exists(path):
            raise FileNotFoundError(path)
        return _File(self, self._address(path), self.size(path))

    def read(self, address: str, size: int, start: int, length: int) -> bytes:
        """Return a range of a file, from its kept end if it is there."""
        key, tail = address.removeprefix(f"{SCHEME}://"), size if size <= SMALL else min(TAIL, size)
        if start < size - tail:
            return self._get(key, start, length)
        with self._lock:
            kept = self._kept.get(address)
        if kept is None:
            kept = (size - tail, self._get(key, size - tail, tail))
            with self._lock:
                self._kept[address] = kept
        at = start - kept[0]
        return kept[1][at : at + length]

    def _get(self, key: str, start: int, length: int) -> bytes:
        try:
            return bytes(obstore.get_range(self._objects, key, start=start, length=length))
        except (BaseError, OSError) as error:
            raise StoreFailed(f"the store failed while giving {key}: {short(error)}") from error

    @staticmethod
    def _address(path: str) -> str:
        return path if path.startswith(f"{SCHEME}://") else f"{SCHEME}://{path}"


class _File(threading.local):
    """A file as DuckDB reads it. Several threads seek and read by one of these, each from its own place."""

    _at = 0

    def __init__(self, ranges: _Ranges, address: str, size: int) -> None:
        self._ranges, self._address, self._size = ranges, address, size

    def read(self, length: int = -1) -> bytes:
        rest = self._size - self._at
        length = rest if length < 0 else min(length, rest)
        if length <= 0:
            return b""
        found = self._ranges.read(self._address, self._size, self._at, length)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Nothing is open."""
