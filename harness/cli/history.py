"""Commands about all stored runs together: ``query`` and ``export``."""

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
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.app import app
from harness.results import Store
from harness.results.history import DEFAULT_DEADLINE, Answer, export_parquet, query
from harness.shown import shown, shown_json, shown_line

ResultsDir = Annotated[Path, typer.Option("--results-dir", help="folder of the runs", show_default=True)]
DEFAULT_RESULTS = Path("results")


class Format(str, Enum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command(
    "query",
    epilog='Examples:\n\n  harness query "SELECT run, commit, median_ns / 1e6 AS ms FROM runs ORDER BY started"'
    '\n\n  harness query --format csv "SELECT item, min(total_ns) FROM samples GROUP BY item"'
    '\n\n  harness query "SELECT night, metric, change, detectable FROM night_cells ORDER BY night"'
    '\n\n  harness query "DESCRIBE samples"',
)
def query_runs(
    sql: Annotated[
        str,
        typer.Argument(
            help="one SELECT over runs, orders, variants, samples, parity, reference, nights, night_cells, night_pairs"
        ),
    ],
    results_dir: ResultsDir = DEFAULT_RESULTS,
    output: Annotated[Format, typer.Option("--format", help="how rows are printed")] = Format.TABLE,
    deadline: Annotated[float, typer.Option(min=0.001, help="seconds the query may take")] = DEFAULT_DEADLINE,
) -> None:
    """Ask all stored runs and nights with SQL (DuckDB); docs/history.md has the tables and their columns."""
    answer = query(Store(results_dir), sql, deadline=deadline)
    if output is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([_plain(value) for value in row] for row in answer.rows)
    elif output is Format.JSON:
        named = [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]
        print(shown_json(json.dumps(named, ensure_ascii=False, indent=1)))
    else:
        _print_table(answer)


@app.command(epilog="Example:\n\n  harness export --parquet build/history")
def export(
    parquet: Annotated[Path, typer.Option("--parquet", help="folder for runs.parquet, samples.parquet …")],
    results_dir: ResultsDir = DEFAULT_RESULTS,
) -> None:
    """Write all stored runs and nights as Parquet, a file for each table of `harness query`."""
    for path in export_parquet(Store(results_dir), parquet):
        print(path)


def _print_table(answer: Answer) -> None:
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for at, title in enumerate(answer.columns):
        numbers = any(isinstance(row[at], int | float | Decimal) for row in answer.rows)
        table.add_column(Text(shown_line(title)), justify="right" if numbers else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(Text(shown(_cell(value))) for value in row))
    console.print(table)
    print(f"{len(answer.rows)} rows", file=sys.stderr)


def _cell(value: Any) -> str:
    """For a person: floats to six digits, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(_plain(value))


def _plain(value: Any) -> Any:
    """What CSV and JSON can hold; numbers that JSON has no word for are null."""
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
