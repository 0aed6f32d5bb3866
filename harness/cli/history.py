"""Define the commands about all stored runs together: ``query`` and ``export``."""

from __future__ import annotations

import csv
import json
import math
import sys
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import app
from harness.cli.documents.files import Column, FilesDocument, QueryDocument, file_rows
from harness.cli.options import DEFAULT_RESULTS, Json, OutputDir, ResultsDir, ResultsUrl, stored
from harness.cli.output import exclusive, note, print_json, print_line, print_table, renamed
from harness.core.errors import UsageError
from harness.core.text import shown
from harness.results.history import DEFAULT_DEADLINE, Answer, export_parquet, query


class Format(str, Enum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command(
    "query",
    epilog='Examples:\n\n  harness query "SELECT commit, median_ns / 1e6 AS ms FROM runs JOIN workloads USING (run)"'
    '\n\n  harness query --json "SELECT run, verdict FROM runs"'
    '\n\n  harness query --format csv "SELECT item, min(total_ns) FROM samples GROUP BY item"'
    '\n\n  harness query "SELECT night, metric, change, detectable FROM night_cells ORDER BY night"'
    '\n\n  harness query "DESCRIBE samples"'
    '\n\n  harness query --results-url s3://team-bench/results "SELECT part_month, count(*) FROM runs GROUP BY ALL"',
)
def query_runs(
    sql: Annotated[
        str,
        typer.Argument(
            help="one SELECT over runs, workloads, orders, variants, profiles, samples, parity, reference, pairs, "
            "nights, night_cells, night_pairs"
        ),
    ],
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    output: Annotated[Format, typer.Option("--format", help="how rows are printed")] = Format.TABLE,
    deadline: Annotated[float, typer.Option(min=0.001, help="seconds the query may take")] = DEFAULT_DEADLINE,
    as_json: Json = False,
) -> None:
    """Ask all stored runs and nightly runs with SQL (DuckDB); docs/history.md has the tables and their columns.

    `--format json` prints the rows alone, an object each; `--json` also the columns and their types.
    """
    exclusive({"--format": output is not Format.TABLE, "--json": as_json})
    answer = query(stored(results_dir, results_url), sql, deadline=deadline)
    rows = ([_plain(value) for value in row] for row in answer.rows)
    if as_json:
        columns = [Column(name=name, type=kind) for name, kind in zip(answer.columns, answer.types, strict=True)]
        print_json(QueryDocument(columns=columns, rows=list(rows)))
    elif output is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(map(_csv, answer.columns))
        writer.writerows([_csv(value) for value in row] for row in rows)
    elif output is Format.JSON:
        sys.stdout.write(json.dumps([dict(zip(answer.columns, row, strict=True)) for row in rows], indent=1) + "\n")
    else:
        _print_table(answer)


@app.command(epilog="Example:\n\n  harness export --output-dir build/history")
def export(
    output_dir: Annotated[Path | None, OutputDir] = None,
    parquet: Annotated[Path | None, typer.Option("--parquet", hidden=True)] = None,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    results_url: ResultsUrl = None,
    as_json: Json = False,
) -> None:
    """Write all stored runs and nightly runs as Parquet, a file for each table of `harness query`."""
    if parquet is not None:
        renamed("--parquet", "--output-dir")
    folder = output_dir or parquet
    if folder is None:
        raise UsageError("no folder was named", cure="harness export --output-dir build/history")
    written = export_parquet(stored(results_dir, results_url), folder)
    if as_json:
        print_json(FilesDocument(files=file_rows(written)))
        return
    for path in written:
        print_line(path)


def _print_table(answer: Answer) -> None:
    numbers = [
        title
        for at, title in enumerate(answer.columns)
        if any(isinstance(row[at], int | float | Decimal) for row in answer.rows)
    ]
    print_table(answer.columns, ([_cell(value) for value in row] for row in answer.rows), right=numbers, width=10_000)
    note(f"{len(answer.rows)} rows")


def _csv(value: Any) -> Any:
    """Return a value for CSV. A terminal must not obey a stored name, but a file or a pipe gets it unchanged."""
    return shown(value) if isinstance(value, str) and sys.stdout.isatty() else value


def _cell(value: Any) -> str:
    """Return a value for a person: floats to six digits, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value that CSV and JSON can contain; numbers that JSON does not have become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)
