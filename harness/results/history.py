"""Query all stored runs with SQL, and export them. DuckDB reads the column store and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.core.errors import HarnessError, UsageError
from harness.results.columnar import ColumnStore, quote, quote_name
from harness.results.errors import RunDamaged, writing
from harness.results.every_table import TABLES
from harness.results.shared import PARTITIONS
from harness.results.shared.mirror import SharedStore
from harness.results.store import Store
from harness.results.tables import Table

if TYPE_CHECKING:
    import duckdb

DEFAULT_DEADLINE = 300.0


class QueryRefused(UsageError):
    """The SQL is wrong, or is no query."""


class QueryTimeout(HarnessError):
    """The query took too long and was ended."""

    cure = "ask for less, or give more time with --deadline"


@dataclass(frozen=True)
class Answer:
    """Hold the columns of a query's result and its rows, as Python values."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    types: list[str]
    """DuckDB's names of the columns' types."""


def query(store: Store, sql: str, *, deadline: float = DEFAULT_DEADLINE, cache: Path | None = None) -> Answer:
    """Run one SELECT over the views in ``TABLES``. Only tables that the statement mentions are read.

    Raises QueryRefused for anything but one SELECT that DuckDB understands, QueryTimeout, CacheBusy, StorageFull or
    StorageUnwritable.
    """
    import duckdb

    mentioned = _mentioned(sql, isinstance(store, SharedStore))
    try:
        return _ask(store, sql, mentioned, deadline, cache)
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        if isinstance(store, SharedStore):
            raise RunDamaged(f"the tables of {store.place} cannot be read: {_message(error)}", cure=_LOST) from error
        # A segment is probably damaged. Read the run folders once more; if that fails too, raise the error.
        with _connected() as connection:
            columns = ColumnStore(store, connection, cache)
            with columns.locked():
                columns.clear()
    except duckdb.Error as error:
        raise QueryRefused(_message(error), cure=_HELP) from error
    try:
        return _ask(store, sql, mentioned, deadline, cache)
    except duckdb.Error as error:
        raise QueryRefused(_message(error), cure=_HELP) from error


def _ask(store: Store, sql: str, mentioned: list[str], deadline: float, cache: Path | None) -> Answer:
    import duckdb

    with _connected() as connection:
        columns = _columns(store, connection, cache)
        with columns.locked():
            for name in mentioned:
                columns.view(TABLES[name])
            _shut_off(connection, columns.readable)
            with _deadline(connection, deadline):
                try:
                    asked = connection.execute(sql)
                    described = asked.description or ()
                    columns_of, types = [one[0] for one in described], [str(one[1]) for one in described]
                    return Answer(columns_of, asked.fetchall(), types)
                except duckdb.InterruptException as error:
                    raise QueryTimeout(f"the query ran for more than {deadline:g} s") from error


class _Columns(Protocol):
    """Make tables views of a connection."""

    @property
    def readable(self) -> list[str]: ...

    def locked(self) -> AbstractContextManager[None]: ...

    def view(self, table: Table) -> None: ...


def _columns(store: Store, connection: duckdb.DuckDBPyConnection, cache: Path | None) -> _Columns:
    return store.columns(connection) if isinstance(store, SharedStore) else ColumnStore(store, connection, cache)


def export_parquet(store: Store, folder: Path, *, cache: Path | None = None) -> list[Path]:
    """Write every table as ``<table>.parquet``, and return the files. Each appears by a rename.

    Raises CacheBusy, StorageFull, StorageUnwritable.
    """
    import duckdb

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    with _connected() as connection:
        columns = _columns(store, connection, cache)
        with columns.locked():
            for name, table in TABLES.items():
                columns.view(table)
                partial, path = folder / f".{name}.{os.getpid()}.partial", folder / f"{name}.parquet"
                try:
                    connection.execute(
                        f"COPY (SELECT * FROM {name} ORDER BY {table.key}) TO {quote(str(partial.absolute()))} "
                        "(FORMAT parquet, COMPRESSION zstd)"
                    )
                    with writing(path):
                        partial.replace(path)
                except duckdb.Error as error:
                    with writing(path):
                        raise OSError(getattr(error, "errno", None), str(error)) from error
                finally:
                    partial.unlink(missing_ok=True)
                written.append(path)
    return written


def _message(error: Exception) -> str:
    """Return DuckDB's message without its excerpt of the statement, because the excerpt shows another statement."""
    return " ".join(str(error).partition("\n\nLINE ")[0].split())


_LOST = "see that nobody removes files below tables/ of the store; `harness query` again reads what is there now"
_HELP = f'the tables are {", ".join(TABLES)}; `harness query "DESCRIBE runs"` shows a table\'s columns'


def _mentioned(sql: str, shared: bool) -> list[str]:
    """Return the tables that a statement mentions; raises QueryRefused unless it is one SELECT of existing columns.

    Empty tables with the same columns check the statement, so that a mistake costs no reading.
    """
    import duckdb

    with _connected() as scratch:
        for table in TABLES.values():
            known = {**table.columns, **(dict.fromkeys(PARTITIONS, "VARCHAR") if shared else {})}
            columns = ", ".join(f"{quote_name(name)} {kind}" for name, kind in known.items())
            scratch.execute(f"CREATE TABLE {table.name} ({columns})")
        _shut_off(scratch, [])
        try:
            statements = scratch.extract_statements(sql)
            # By value: before DuckDB 2 each mention of the kind is an object of its own.
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryRefused("only a single SELECT is run, since stored runs are never changed", cure=_HELP)
            scratch.execute(f"EXPLAIN {sql}")
            tree = scratch.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
        except duckdb.Error as error:
            raise QueryRefused(_message(error), cure=_HELP) from error
    # DESCRIBE has no tree, so each of its words may name a table. At worst this reads a table too many.
    names = set(_table_names(json.loads(tree))) or set(re.findall(r"\w+", sql.lower()))
    # Runs first: whatever other tables are read after them has the rows of all of these runs.
    return [name for name in TABLES if name in names]


def _table_names(tree: Any) -> Iterator[str]:
    """Yield the name of every table in DuckDB's tree of a statement, in lower case."""
    if isinstance(tree, dict):
        if isinstance(tree.get("table_name"), str) and tree.get("type") == "BASE_TABLE":
            yield tree["table_name"].lower()
        for value in tree.values():
            yield from _table_names(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _table_names(value)


@contextlib.contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB in memory. It never loads an extension from the network, nor a Python variable as a table."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
        # Without this setting DuckDB would spill into the working directory.
        "temp_directory": "",
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        yield connection


def _shut_off(connection: duckdb.DuckDBPyConnection, readable: Sequence[str]) -> None:
    """Restrict the connection: from now on it can read only files below these, and its settings stay fixed."""
    if readable:
        connection.execute(f"SET allowed_directories = [{', '.join(map(quote, sorted(set(readable))))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


@contextlib.contextmanager
def _deadline(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # The thread holds the connection, which must be closed before the interpreter ends.
        timer.join()
