"""Name all tables of ``harness query``."""

from __future__ import annotations

from harness.results.line_tables import LINE_TABLES
from harness.results.nightly_tables import NIGHTLY_TABLES
from harness.results.tables import FOLDER_TABLES, Table

TABLES: dict[str, Table] = {table.name: table for table in (*FOLDER_TABLES, *LINE_TABLES, *NIGHTLY_TABLES)}
