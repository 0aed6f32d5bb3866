"""Measure what reading a large result costs, by its size, for the smallest records that an order allows.

    python benchmarks/reading.py                 # 16, 64 and 256 MB
    python benchmarks/reading.py --megabytes 8

Each size is read in a process of its own, from a file, as the host device reads one. The order is one that asks for so
many samples, or for as many as an order may: then reading ends at that bound. Twice the records have to take twice the
time: exit status 1 if the slowest cost more than twice as much a record as the fastest.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.tables import terminal
from harness.core.errors import ExitCode
from harness.devices.breaches import MAX_RECORDS
from harness.devices.collect import MAX_RESULT_BYTES, ResultReader
from harness.models.g2p.items import word_item
from harness.protocol.schema import GenerationWorkload, WorkOrder

MEGABYTE = 2**20
ARCHIVE = "ab" * 32
ROOM = 4096
"""Bytes of the records that are no samples."""


def order_of(repetitions: int) -> WorkOrder:
    """Return an order of one word, so many times."""
    model = GenerationWorkload(
        name="g2p",
        functions={"encoder": "e_", "decoder": "d_"},
        use_kv_cache=False,
        batch_size=1,
        max_input_bytes=64,
        max_output_len=128,
        vocab_size=384,
    )
    items = [word_item("w", "eng-us", "a")]
    return WorkOrder(
        order_id="o", archive_sha256=ARCHIVE, workloads=[model], items=items, warmup=0, repetitions=repetitions
    )


def write(path: Path, size: int) -> int:
    """Write a complete result of at most so many bytes; returns its samples."""
    header = {
        "record": "header", "schema_version": 2, "order_id": "o", "runner_version": "0", "archive_sha256": ARCHIVE,
        "os": "x", "arch": "x", "cpu": {"model": "x", "cores": 1, "features": []}, "threads": 1, "pid": 1,
        "started_unix_ns": 1,
    }  # fmt: skip
    sample = {
        "record": "sample", "workload": "g2p", "items": ["w"], "phase": "timed", "repetition": 0, "total_ns": 5000,
        "parts": {"encoder": [1000], "step": [700, 700]},
        "outputs": [{"token_ids": [100, 1], "text": "a"}],
    }  # fmt: skip
    line = json.dumps(sample).encode() + b"\n"
    count = (size - ROOM) // len(line)
    with path.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for _ in range(count // 1000):
            file.write(line * 1000)
        file.write(line * (count % 1000))
        file.write(json.dumps({"record": "end", "order_id": "o", "status": "ok", "samples": count}).encode() + b"\n")
    return count


def measure(path: Path, samples: int) -> None:
    """Read it in this process, and print the seconds and the bytes of memory that it took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    reader = ResultReader(path, order_of(min(samples, MAX_RECORDS)))
    reader.poll()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([took, cpu, peak * 1024, len(reader.records), reader.missing()]))


def main(
    megabytes: Annotated[list[int] | None, typer.Option(help="sizes of results")] = None,
    read: Annotated[Path | None, typer.Option(hidden=True)] = None,
    samples: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Print a line a size."""
    if read is not None:
        measure(read, samples)
        return
    table = Table("size, MB", "records", "seconds", "of CPU", "µs a record", "memory, MB", "ends")
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megabytes or [16, 64, 256]:
            path = Path(folder) / "result.jsonl"
            count = write(path, min(size * MEGABYTE, MAX_RESULT_BYTES))
            command = [sys.executable, "-m", "benchmarks.reading", "--read", str(path), "--samples", str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
            took, cpu, peak, records, missing = json.loads(done.stdout)
            costs.append(cpu / records)
            table.add_row(
                str(size), f"{records:,}", f"{took:.1f}", f"{cpu:.1f}", f"{cpu / records * 1e6:.1f}",
                f"{peak / MEGABYTE:.0f}", missing or "complete",
            )  # fmt: skip
    terminal().print(table)
    if max(costs) > 2 * min(costs):
        raise typer.Exit(ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
