"""Measure what bringing the runner's app onto an iPhone costs, and an order beside the runner's own time.

    python benchmarks/deploy_ios.py                       # on virtual iPhones, iOS 16 and 17
    python benchmarks/deploy_ios.py --udid UDID --sign-command './sign.sh {}' --bundle-id com.example.runner
    python benchmarks/deploy_ios.py --quick --json deploy.json

Every round is a session: the app is signed, checked and installed; deployed again, which finds the same build; asked
what it is; then run warm: deployed, settled, conditions read, an order of one word pushed, the app launched, its result
pulled, conditions read. The runner's own time in that (loading the model, the word) is shown apart: the limit is for
the rest. Exit status 1 if it is missed.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import track
from rich.table import Table

from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.devices import Device, RunResult, Selection, Unavailable, opened, parse_device
from harness.models.g2p.items import word_item
from harness.native import AppOptions, Runner
from harness.protocol.schema import Load, Sample, WorkOrder
from harness.run.builder import CachedBuilder, RunOptions

INSTALL, AGAIN, DESCRIBE, WARM = "sign, check, install", "unchanged", "description", "a warm order"
BESIDE = "of it, beside the runner's own time"
LIMIT_SECONDS = 2.0
Seconds = dict[str, list[float]]
_T = TypeVar("_T")


def build(device: Device, bundle_id: str | None) -> Runner:
    """Build the embedded model's app for that device."""
    builder = CachedBuilder(print)
    options = RunOptions(target=device.target)
    workloads = builder.workloads(options, print)
    archive = builder.archive(options, workloads, "cache", print)
    companion = None
    if device.companion is not None:
        companion = builder.archive(RunOptions(target=device.companion), workloads, "cache", print)
    app = AppOptions(companion=companion) if bundle_id is None else AppOptions(bundle_id, companion)
    return builder.runner(archive, print, app)


def order_of(runner: Runner) -> WorkOrder:
    return WorkOrder(
        order_id="deploy",
        archive_sha256=runner.archive.sha256,
        workloads=[runner.archive.metadata.generation()],
        items=[word_item("w0", "eng-us", "benchmark")],
        warmup=0,
        repetitions=1,
    )


def own_seconds(result: RunResult) -> float:
    """Return what the runner itself took, by its records."""
    loads = sum(record.load_ns for record in result.records if isinstance(record, Load))
    samples = sum(record.total_ns for record in result.records if isinstance(record, Sample))
    return (loads + samples) / 1e9


def one_session(device: Device, runner: Runner, seconds: Seconds) -> None:
    def timed(name: str, do: Callable[[], _T]) -> _T:
        began = time.perf_counter()
        value = do()
        seconds[name].append(time.perf_counter() - began)
        return value

    def warm() -> RunResult:
        device.deploy(runner.path)
        device.settle()
        device.conditions()
        result = device.run(runner.path, order_of(runner)).require_complete()
        device.conditions()
        return result

    timed(INSTALL, lambda: device.deploy(runner.path))
    timed(AGAIN, lambda: device.deploy(runner.path))
    timed(DESCRIBE, lambda: device.describe(runner.path))
    result = timed(WARM, warm)
    seconds[BESIDE].append(seconds[WARM][-1] - own_seconds(result))


def measure(selection: Selection, rounds: int, bundle_id: str | None) -> tuple[str, Seconds]:
    """Return the device's name and the seconds of every step."""
    seconds: Seconds = defaultdict(list)
    name = selection.kind
    for _ in track(range(rounds), description=f"{selection.kind} {selection.which or ''}", console=terminal()):
        with opened(selection, cache=Cache(), notify=lambda _line: None) as devices:
            (device,) = devices
            if isinstance(device, Unavailable):
                raise device.error
            name = f"{device.name.partition(' (')[0]}{', emulated' if device.emulated else ''}"
            one_session(device, build(device, bundle_id), seconds)
    return name, seconds


def report(name: str, seconds: Seconds) -> bool:
    """Print the table; whether the limit is kept."""
    table = Table(title=f"{name}, {len(seconds[WARM])} rounds")
    for title in ("what", "median s", "lowest", "highest", "limit"):
        table.add_column(title, justify="left" if title == "what" else "right")
    kept = statistics.median(seconds[BESIDE]) <= LIMIT_SECONDS
    for step, values in seconds.items():
        limit = f"{LIMIT_SECONDS:.3f}{'' if kept else ' missed'}" if step == BESIDE else ""
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(step, *(f"{number:.3f}" for number in numbers), limit)
    terminal().print(table)
    return kept


def main(
    rounds: Annotated[int, typer.Option(min=1, help="sessions with each phone")] = 10,
    udid: Annotated[str | None, typer.Option(help="an iPhone; virtual ones otherwise")] = None,
    sign_command: Annotated[str | None, typer.Option(help="as --ios-sign-command")] = None,
    bundle_id: Annotated[str | None, typer.Option(help="as --ios-bundle-id")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="three rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Deploy and run, again and again."""
    if udid is not None:
        selections = [parse_device("ios", serial=udid, ios_sign_command=sign_command)]
    else:
        selections = [parse_device("virtual-ios:16"), parse_device("virtual-ios:17")]
    kept, samples = True, {}
    try:
        for selection in selections:
            name, seconds = measure(selection, 3 if quick else rounds, bundle_id)
            kept = report(name, seconds) and kept
            samples[name] = seconds
    except HarnessError as error:
        print(f"deploy_ios: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if json_path is not None:
        json_path.write_text(
            json.dumps({"limit_seconds": LIMIT_SECONDS, "seconds": samples}, indent=1) + "\n", encoding="utf-8"
        )
    sys.exit(ExitCode.OK if kept else ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
