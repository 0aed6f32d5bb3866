"""The reference of the tables that `harness query` reads, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator

from harness.results.every_table import TABLES
from harness.results.shared import PARTITIONS

PAGE = "reference/sql.md"
HEAD = f"""# SQL tables

The {len(TABLES)} tables of `harness query` and `harness export`, in DuckDB's types. [All runs at once](../history.md)
explains the columns and shows queries. A store of [results for everybody](../results-store.md) adds the columns
{" and ".join(f"`{one}`" for one in PARTITIONS)} to each table.
"""


def pages() -> dict[str, str]:
    """Return the page by its path in docs."""
    return {PAGE: HEAD + "\n".join(_tables()) + "\n"}


def _tables() -> Iterator[str]:
    for table in TABLES.values():
        files = ", ".join(f"`{name}`" for name in table.files)
        yield from ["", f"## {table.name}", "", f"A row is found by `{table.key}`; the rows are made of {files}.", ""]
        yield from ["| Column | Type |", "|---|---|"]
        yield from (f"| `{name}` | `{kind}` |" for name, kind in table.columns.items())
