"""Measure a results store that many people have filled, and whether it keeps everything while its writers are killed.

    python benchmarks/results_store.py                       # 10^8 samples on SeaweedFS: some 2 GB below --folder
    python benchmarks/results_store.py --samples 1000000 --nights 30 --runs 16     # a look
    python benchmarks/results_store.py --store folder        # the same in a folder instead of S3

The samples are made up by DuckDB and appended as if they had been compacted: a transaction for each month and kind of
device, through the same code as uploads. The runs of the report, the nightly runs, and the runs of the killed writers
are folders that are uploaded. Each command is a process of its own. Exit status 1 if one takes longer than its limit
(the median of several calls), or if the writers lost something or brought it twice.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import duckdb
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.commands import Costs, call, load
from benchmarks.history import make_run
from benchmarks.tables import terminal
from harness.core.errors import ExitCode
from harness.models.g2p.word_list import default_words
from harness.results.columnar import quote, quote_name
from harness.results.every_table import TABLES
from harness.results.shared import shared_store, uploader
from harness.results.shared.delta import DeltaTables
from harness.results.shared.sync import planned
from tests.lab.seaweed import Server
from tests.lab.writers import copies, differences, numbered, upload_all
from tests.results.samples import make_run as make_small_run
from tests.results.test_nightly import Years

MONTHS = tuple(f"2025{month:02d}" for month in range(1, 13))
KINDS = ("android", "host", "ios")
DEVICES = 10
"""Of each kind."""
SAMPLES_OF_A_RUN = 10_000
WORDS = 130
REPEATS = 5
WRITERS = 8
MEDIANS, TWO_RUNS, HISTORY = 3.0, 5.0, 5.0
"""Limits in seconds."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a command: the first call, with nothing fetched, and the median of more."""

    title: str
    limit: float
    first: float
    repeated: float
    cpu: float


@dataclass(frozen=True)
class Faults:
    """What came of the writers that were killed."""

    runs: int
    killed: int
    seconds: float
    differences: list[str]


def fill(url: str, samples: int, console: Console) -> None:
    """Append made-up samples, and the rows of their runs."""
    tables = DeltaTables(url, patience=timedelta(seconds=30))
    runs = max(1, samples // (SAMPLES_OF_A_RUN * len(MONTHS) * len(KINDS)))
    each = max(1, samples // (runs * len(MONTHS) * len(KINDS)))
    parts = [(month, kind) for month in MONTHS for kind in KINDS]
    for month, kind in track(parts, "filling", console=console, transient=True):
        with duckdb.connect(":memory:", config={"temp_directory": ""}) as connection:
            part = f"'{month[:4]}-{month[4:]}' AS part_month, '{kind}' AS part_device_kind"
            connection.execute(
                f"CREATE TABLE made AS SELECT printf('{month}%02d-120000-000-{kind[0]}%03x', 1 + n % 28, n) AS run, "
                f"n % {DEVICES} AS device, 1e6 * (1 + 0.04 * random()) AS level FROM range({runs}) ids(n)"
            )
            ns = "(level * (0.9 + 0.2 * random()))::BIGINT"
            known = {
                "run": "run",
                "order_id": "'latency-cache-1'",
                "workload": "'g2p'",
                "item": f"printf('w%05d', n % {WORDS})",
                "phase": f"CASE WHEN n < {2 * WORDS} THEN 'warmup' ELSE 'timed' END",
                "repetition": f"n // {WORDS}",
                "total_ns": ns,
                "encoder_ns": f"{ns} // 5",
                "prefill_ns": f"{ns} // 50",
                "steps_ns": f"{ns} // 2",
                "steps": "10",
                "tokens": "10",
                "text": f"printf('text %05d', n % {WORDS})",
            }
            columns = _columns("samples", known)
            rows = connection.sql(f"SELECT {columns}, {part} FROM made, range({each}) passes(n)")
            tables.append(TABLES["samples"], f"made-{month}-{kind}", 1, rows)
            known = {
                "run": "run",
                "status": "'complete'",
                "verdict": "'pass'",
                "started": "strptime(left(run, 8), '%Y%m%d')",
                "device_kind": quote(kind),
                "device": f"'{kind}-' || device",
                "emulated": "false",
                "precision": "'fp32'",
                "threads": "1",
            }
            rows = connection.sql(f"SELECT {_columns('runs', known)}, {part} FROM made")
            tables.append(TABLES["runs"], f"made-{month}-{kind}", 1, rows)


def _columns(table: str, known: dict[str, str]) -> str:
    types = {name: "VARCHAR" if kind == "JSON" else kind for name, kind in TABLES[table].columns.items()}
    return ", ".join(f"CAST({known.get(name, 'NULL')} AS {kind}) AS {quote_name(name)}" for name, kind in types.items())


def add_runs(url: str, folder: Path, nights: int, console: Console) -> None:
    """Upload two runs and some nightly runs, as folders."""
    words, rng = default_words(), np.random.default_rng(1)
    for at in range(2):
        make_run(folder, words, rng, commit=f"{at:040x}")
    years, noise = Years(folder), random.Random(1)
    for at in range(nights):
        years.nightly(noise.gauss(0.03 if at > nights // 2 else 0.0, 0.004), a="old", b=f"b{at}")
    plan, to = planned(folder), uploader(url)
    for item in track(plan.items, "uploading", console=console, transient=True):
        to.upload(item)


def measure(title: str, limit: float, url: str, folder: Path, *arguments: str) -> Timing:
    """Time a command; raises CalledProcessError."""
    command = [sys.executable, "-m", "harness.cli", *arguments, "--results-url", url]
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    first, *more = [call(command, folder, HARNESS_CACHE_DIR=str(cache)) for _ in range(1 + REPEATS)]
    costs = Costs(more)
    return Timing(title, limit, first.wall, costs.median, costs.cpu)


def measurements(url: str, folder: Path) -> Iterator[Timing]:
    month = "started >= '2025-06-01' AND started < '2025-07-01'"
    medians = "SELECT item, median(total_ns) FROM samples JOIN runs USING (run) WHERE device = 'android-0' AND"
    rest = "AND phase = 'timed' GROUP BY item"
    yield measure(
        "a month's medians for one device", MEDIANS, url, folder, "query", "--json", f"{medians} {month} {rest}"
    )
    part = "samples.part_month = '2025-06' AND samples.part_device_kind = 'android'"
    yield measure(
        "the same, with the partition named", MEDIANS, url, folder, "query", "--json", f"{medians} {part} {rest}"
    )
    first, second = sorted(path.name for path in (folder / "results").glob("2*"))
    page = str(folder / "page.html")
    yield measure("a report of two runs", TWO_RUNS, url, folder, "report", first, second, "--output", page)
    yield measure("two runs compared", TWO_RUNS, url, folder, "compare", first, second)
    yield measure("the list of all nightly runs", HISTORY, url, folder, "nights", "--limit", "0", "--json")
    yield measure(
        "the page of a nightly run and drift", HISTORY, url, folder, "report", "--night", "latest", "-o", page
    )
    cells = "SELECT night, device, metric, change, verdict FROM night_cells ORDER BY night"
    yield measure("the cells of all nightly runs", HISTORY, url, folder, "query", "--json", cells)


def kill_writers(url: str, folder: Path, runs: int) -> Faults:
    """Append runs by eight writers at once, and look what is there.

    One of them is killed every second, for as long as more than half of them have something to do.
    """
    original, rng, killed = make_small_run(folder / "original").folder, random.Random(1), 0
    folders = [folder / f"writer-{number}" for number in range(WRITERS)]
    for number, one in enumerate(folders):
        copies(one, original, numbered(number * -(-runs // WRITERS), -(-runs // WRITERS)))
    began, context = time.monotonic(), multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.lab.writers"])

    def started(one: Path) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=upload_all, args=(str(one), url, {}), daemon=True)
        process.start()
        return process

    writers = {one: started(one) for one in folders}
    while writers:
        time.sleep(1.0)
        for one, process in list(writers.items()):
            if process.exitcode == 0:
                del writers[one]
            elif process.exitcode is not None:
                writers[one] = started(one)
        running = [process for process in writers.values() if process.is_alive()]
        # The last ones would be killed before they have done anything, and never end.
        if len(running) > WRITERS // 2:
            rng.choice(running).kill()
            killed += 1
    seconds = time.monotonic() - began
    return Faults(len(list(shared_store(url).runs())), killed, seconds, differences(url, *folders))


@contextmanager
def stored_in(store: str, folder: Path) -> Iterator[str]:
    """Start a store, and return its address up to the last part."""
    if store == "folder":
        yield f"file://{folder}/store"
        return
    with ExitStack() as stack:
        server = Server(folder / "server", "-volume.max=100")
        stack.callback(server.kill)
        server.make_bucket("lab")
        os.environ.update(server.environment)
        yield "s3://lab/store"


def main(
    samples: Annotated[int, typer.Option(min=1)] = 100_000_000,
    nights: Annotated[int, typer.Option(min=1)] = 300,
    runs: Annotated[int, typer.Option(min=0, help="of the killed writers; 0 leaves them out")] = 200,
    store: Annotated[Literal["s3", "folder"], typer.Option(help="SeaweedFS, or a folder")] = "s3",
    folder: Annotated[Path | None, typer.Option(help="where a temporary folder is made")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all figures here")] = None,
) -> None:
    """Fill a results store, read it, and kill its writers."""
    console = terminal()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="harness-store-", dir=folder) as name:
        own = Path(name)
        os.environ["HARNESS_CACHE_DIR"] = str(own / "own-cache")
        with stored_in(store, own) as url:
            began = time.monotonic()
            fill(url, samples, console)
            filled = time.monotonic() - began
            add_runs(url, own / "results", nights, console)
            console.print(f"{samples:,} samples in {filled:.0f} s; {load()}")
            timings = []
            for timing in measurements(url, own):
                timings.append(timing)
                console.print(f"{timing.title}: {timing.repeated:.2f} s, first {timing.first:.2f} s; {load()}")
            faults = kill_writers(f"{url}-writers", own, runs) if runs else None
    late = [timing for timing in timings if timing.repeated > timing.limit]
    table = Table("", "first", "repeated: median", "of the processor", "limit", box=None)
    for one in timings:
        table.add_row(one.title, *(f"{seconds:.2f}" for seconds in (one.first, one.repeated, one.cpu, one.limit)))
    console.print(table)
    if faults is not None:
        console.print(
            f"{faults.runs} runs of {WRITERS} writers, {faults.killed} times killed, {faults.seconds:.0f} s: "
            f"{len(faults.differences)} differences"
        )
        for difference in faults.differences[:10]:
            console.print(difference)
    if json_path is not None:
        found = {"samples": samples, "store": store, "load": load(), "timings": [asdict(one) for one in timings]}
        text = json.dumps(found | {"faults": asdict(faults) if faults else None}, indent=1)
        json_path.write_text(text, encoding="utf-8")
    failed = late or (faults is not None and (faults.differences or faults.runs < runs))
    raise typer.Exit(int(ExitCode.FAILURE if failed else ExitCode.OK))


if __name__ == "__main__":
    typer.run(main)
