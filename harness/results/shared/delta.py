"""Append rows to Delta tables: one transaction for each table and run, and none twice.

A transaction carries the run's id. A client that appends first looks whether the table has that id, and Delta refuses
two transactions of one id that were prepared at the same time. So a run whose upload was killed, or whose answer was
lost, can be appended again: existing rows do not change.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from arro3.core import RecordBatchReader
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from harness.core.store import cure_of, folder_of, short
from harness.core.store_errors import StoreFailed
from harness.results.shared import PARTITIONS
from harness.results.tables import Table

if TYPE_CHECKING:
    import duckdb

TABLES_VERSION = 2
"""Rises when a column changes, so that tables of other columns are other tables."""
FOLDER = f"tables/v{TABLES_VERSION}"
TRIES = 12
FILE_BYTES = 128 * 2**20
ROWS_TOGETHER = 131_072
"""The rows of a group, which are read or left out together."""
KEPT_HOURS = 7 * 24
"""How long files stay that were compacted into others, for readers who began before."""
_STRANGE = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True)
class Partition:
    month: str
    device_kind: str

    @classmethod
    def of(cls, name: str, kinds: set[str]) -> Partition:
        """Return the partition of a run or nightly run, whose id begins with its day."""
        kind = _STRANGE.sub("-", min(kinds).lower())[:40] if len(kinds) == 1 else "several" if kinds else "unknown"
        return cls(f"{name[:4]}-{name[4:6]}", kind or "unknown")


@dataclass(frozen=True)
class TableFile:
    """A Parquet file of a table: its path below the table's folder."""

    path: str
    size: int


class DeltaTables:
    """Hold the tables of one results store. Raises StoreFailed."""

    def __init__(self, url: str, *, patience: timedelta) -> None:
        self._url = url.rstrip("/")
        folder = folder_of(url)
        self._base = self._url if folder is None else str(folder.absolute())
        self._options = _options(patience) if folder is None else {}
        self._open: dict[str, DeltaTable] = {}

    def has(self, table: Table, name: str) -> bool:
        """Return whether the table has the rows of a run, as it is now."""
        found = self._current(table)
        try:
            return found is not None and self._knows(found, table, name)
        except (_Unsure, CommitFailedError) as error:
            raise StoreFailed(f"the table {table.name} of {self._url} cannot be read: {error}") from error

    def append(self, table: Table, name: str, generation: int, rows: duckdb.DuckDBPyRelation) -> bool:
        """Append a run's rows, or do nothing and return False if the table has them.

        A higher generation than 1 takes the place of the rows that are there.
        """
        for tried in range(TRIES):
            try:
                current = self._current(table) or self._made(table, rows)
                if generation == 1 and self._knows(current, table, name):
                    return False
                with self._trouble(table):
                    self._write(current, table, name, generation, rows)
            except (CommitFailedError, _Unsure):
                # Somebody else was faster, or the answer was lost: look again. The last try's error is raised below.
                if tried == TRIES - 1:
                    raise StoreFailed(f"the table {table.name} of {self._url} took no rows in {TRIES} tries") from None
                time.sleep(random.uniform(0.0, 0.1) * 2 ** min(tried, 4))
                continue
            return True
        raise AssertionError("unreachable")

    def files(self, table: Table) -> list[TableFile]:
        """Return the files that hold the table's rows now."""
        found = self._current(table)
        if found is None:
            return []
        with self._trouble(table):
            added = found.get_add_actions(flatten=True)
            paths, sizes = added["path"].to_pylist(), added["size_bytes"].to_pylist()
        return [TableFile(str(path), int(size)) for path, size in zip(paths, sizes, strict=True)]

    def uri(self, table: Table) -> str:
        return f"{self._base}/{FOLDER}/{table.name}"

    def compact(self, table: Table) -> tuple[int, int]:
        """Write many small files as few large ones; return the number of files before and after.

        The small files are removed once no reader can be using them any more.
        """
        before = len(self.files(table))
        found = self._open.get(table.name)
        if found is None:
            return 0, 0
        for tried in range(TRIES):
            try:
                with self._trouble(table):
                    found.update_incremental()
                    found.optimize.compact(target_size=FILE_BYTES, writer_properties=_WRITING)
                    found.vacuum(retention_hours=KEPT_HOURS, dry_run=False)
                    found.create_checkpoint()
                    found.cleanup_metadata()
            except (CommitFailedError, _Unsure):
                if tried == TRIES - 1:
                    raise StoreFailed(f"the table {table.name} of {self._url} is being changed all the time") from None
                time.sleep(random.uniform(0.0, 0.1) * 2 ** min(tried, 4))
                continue
            break
        return before, len(self.files(table))

    def _current(self, table: Table) -> DeltaTable | None:
        """Return the table as it is now; None if nobody has written to it."""
        try:
            with self._trouble(table):
                found = self._open.get(table.name)
                if found is None:
                    found = DeltaTable(self.uri(table), storage_options=self._options)
                    self._open[table.name] = found
                else:
                    found.update_incremental()
                return found
        except TableNotFoundError:
            return None
        except (_Unsure, CommitFailedError) as error:
            raise StoreFailed(f"the table {table.name} of {self._url} cannot be read: {error}") from error

    def _knows(self, found: DeltaTable, table: Table, name: str) -> bool:
        """Return whether the table as it was read has the rows of a run; this may read its log again."""
        with self._trouble(table):
            return found.transaction_version(name) is not None

    def _made(self, table: Table, rows: duckdb.DuckDBPyRelation) -> DeltaTable:
        """Make a table without rows, unless somebody else has just done so.

        Delta compares transactions with what came after the table as one saw it. A table that is made together with its
        first rows was not seen, and two clients with the same rows would both be let in.
        """
        with self._trouble(table):
            DeltaTable.create(
                self.uri(table),
                RecordBatchReader.from_stream(rows).schema,
                mode="ignore",
                partition_by=list(PARTITIONS),
                # Least and greatest values of other columns would only make the log longer.
                configuration={"delta.dataSkippingStatsColumns": table.key, "delta.checkpointInterval": "50"},
                storage_options=self._options,
            )
        found = self._current(table)
        if found is None:
            raise _Unsure(f"{table.name} was made and is not there")
        return found

    def _write(
        self, current: DeltaTable, table: Table, name: str, generation: int, rows: duckdb.DuckDBPyRelation
    ) -> None:
        properties = CommitProperties(app_transactions=[Transaction(name, generation)], max_commit_retries=50)
        if generation == 1:
            write_deltalake(current, rows, mode="append", writer_properties=_WRITING, commit_properties=properties)
            return
        # A later generation replaces whatever rows are there, so that doing it twice does no harm.
        write_deltalake(
            current,
            rows,
            mode="overwrite",
            predicate=f"{table.key} = '{name}'",
            writer_properties=_WRITING,
            commit_properties=properties,
        )

    @contextmanager
    def _trouble(self, table: Table) -> Iterator[None]:
        """Turn errors of the store into StoreFailed, and those after which one has to look again into _Unsure."""
        try:
            yield
        except (CommitFailedError, TableNotFoundError):
            raise
        except (DeltaError, OSError) as error:
            text = short(error)
            if any(sign in str(error) for sign in _CONFLICTS):
                raise _Unsure(text) from error
            text = f"the store {self._url} failed at the table {table.name}: {text}"
            raise StoreFailed(text, cure=cure_of(error)) from error


class _Unsure(Exception):
    """What was tried may have happened, or somebody else did the same."""


_CONFLICTS = ("already exists", "version 0", "ConditionalRequestConflict", "PreconditionFailed")
_WRITING = WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=ROWS_TOGETHER)


def _options(patience: timedelta) -> dict[str, str]:
    seconds = int(patience.total_seconds())
    return {"connect_timeout": "5s", "timeout": "60s", "max_retries": "5", "retry_timeout": f"{seconds}s"}
