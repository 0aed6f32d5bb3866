"""Make the rows of one run or nightly run for the Delta tables: those that ``harness query`` makes of its folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from harness.results.columnar import quote, quote_name, select_lines, select_rows
from harness.results.errors import RunDamaged
from harness.results.shared import DEVICE_KIND, MONTH
from harness.results.shared.delta import Partition
from harness.results.tables import FolderTable, LineTable, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation


@contextlib.contextmanager
def rows_of(table: Table, folder: Path, partition: Partition) -> Iterator[DuckDBPyRelation | None]:
    """Return a folder's rows of a table, with the columns of the partition; None if there are none.

    Raises RunDamaged if a file is damaged in a way that no interruption explains, or goes away meanwhile.
    """
    with duckdb.connect(":memory:", config={"temp_directory": ""}) as connection:
        with tempfile.TemporaryDirectory(prefix="harness-rows-") as scratch:
            if isinstance(table, LineTable):
                select, parameters = select_lines(table, [folder / table.files[0]])
            else:
                assert isinstance(table, FolderTable)
                select, parameters = select_rows(table, [folder], Path(scratch) / "rows.jsonl")
            columns = ", ".join(_stored(name, kind) for name, kind in table.columns.items())
            where = f"{quote(partition.month)} AS {MONTH}, {quote(partition.device_kind)} AS {DEVICE_KIND}"
            try:
                connection.execute(
                    f"CREATE TEMP TABLE found AS SELECT {columns}, {where} FROM ({select})",
                    {"paths": parameters[0]} if parameters else None,
                )
            except duckdb.Error as error:
                raise RunDamaged(f"the {table.name} of {folder.name} cannot be read: {error}") from error
        found = connection.table("found")
        yield found if connection.execute("SELECT count(*) FROM found").fetchall()[0][0] else None


def _stored(name: str, kind: str) -> str:
    """Return the expression of a column in a Delta table, which has no type for JSON."""
    return f"CAST({quote_name(name)} AS VARCHAR) AS {quote_name(name)}" if kind == "JSON" else quote_name(name)
