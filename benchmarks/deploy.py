"""Measure what bringing a runner onto an Android device costs, alternately with a plain ``adb push``.

    python benchmarks/deploy.py                       # on a virtual device
    python benchmarks/deploy.py --serial SERIAL       # on a phone
    python benchmarks/deploy.py --quick --json deploy.json

Every round makes a new file of random bytes, pushes it with ``adb push``, and has the harness deploy it as a runner:
for the first time, again in the same session, and again in a new one. Between them the runner is asked what it is,
after which the device verifies its contents, once per runner. Then it is run whole: it does nothing but write its
records, so what that takes is the harness's own time. Whether adb or the harness comes first changes every round.
Exit status 1 if a limit is missed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from adbutils._utils import adb_path
from rich.progress import track
from rich.table import Table

from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError
from harness.devices.android import AndroidDevice, AndroidOptions, Server
from harness.devices.android.shell import Shell
from harness.protocol.schema import GenerationWorkload, WorkOrder

ADB_PUSH = "adb push"
FIRST, AGAIN, NEW_SESSION, RUN = "first deploy", "unchanged, same session", "unchanged, new session", "a whole run"
VERIFIED = "first description and verification"
LIMIT_OF_PUSH = 1.2
LIMITS_SECONDS = {AGAIN: 0.3, NEW_SESSION: 0.3, RUN: 1.5}
PUSH_SECONDS = 600.0
FOLDER = "/data/local/tmp/benchmark-of-harness"
LAUNCHER = ("/system/bin/sh",)
ARCHIVE = "0" * 64
RUNNER = """
[ "$1" = --describe ] && { echo '{"runner_version":"0","archive_sha256":"%(archive)s","arch":"","os":"","prefixes":[]}'; exit; }
put() { echo "$1" >> result-1.jsonl; echo "$1"; }
put '{"record":"header","schema_version":2,"order_id":"o","runner_version":"0","archive_sha256":"%(archive)s","os":"","arch":"","cpu":{"model":"","cores":1,"features":[]},"threads":1,"pid":1,"started_unix_ns":1}'
put '{"record":"end","order_id":"o","status":"ok","samples":0}'
exit
"""  # noqa: E501


@dataclass(frozen=True)
class Place:
    """The device and the server it hangs on."""

    server: Server
    serial: str
    environment: dict[str, str]
    emulated: bool

    def open(self) -> AndroidDevice:
        """Open the device with a folder of its own, so that the runners that users have on the phone stay."""
        options = AndroidOptions(base=FOLDER)
        return AndroidDevice(self.server, self.serial, launcher=LAUNCHER, emulated=self.emulated, options=options)

    def shell(self, text: str) -> None:
        Shell(self.server, self.serial).run(
            text, FOLDER, deadline=PUSH_SECONDS, what="preparing the benchmark's folder"
        )


@contextmanager
def place(serial: str | None) -> Iterator[Place]:
    if serial is not None:
        server = Server()
        server.ensure()
        yield Place(server, serial, {}, emulated=False)
        return
    from harness.virtual.android import virtual_androids

    with virtual_androids(1, cache=Cache(), progress=print) as (adb, devices):
        yield Place(Server(adb.port, starts=False), devices[0].serial, adb.environment, emulated=True)


def adb_push(at: Place, file: Path) -> None:
    command = [str(adb_path()), "-P", str(at.server.port), "-s", at.serial]
    target = f"{FOLDER}/pushed"
    environment = {**os.environ, **at.environment}
    pushed = [*command, "push", str(file), target]
    subprocess.run(pushed, env=environment, capture_output=True, check=True, timeout=PUSH_SECONDS)


def write_runner(folder: Path, megabytes: int) -> Path:
    """Write a runner as large as a real one, of bytes that no compression makes fewer."""
    file = folder / "runner"
    file.write_bytes((RUNNER % {"archive": ARCHIVE}).encode() + os.urandom(megabytes * 10**6))
    return file


def order() -> WorkOrder:
    model = GenerationWorkload(
        name="m", functions={}, use_kv_cache=False, batch_size=1, max_input_bytes=8, max_output_len=8, vocab_size=8
    )
    return WorkOrder(order_id="o", archive_sha256=ARCHIVE, workloads=[model], items=[], warmup=0, repetitions=0)


def whole_order(device: AndroidDevice, runner: Path) -> None:
    """Do all that a session does for an order that is timed; the runner itself does nothing."""
    device.deploy(runner)
    device.settle()
    device.conditions()
    device.run(runner, order()).require_complete()
    device.conditions()


@contextmanager
def cleared(at: Place) -> Iterator[None]:
    """Remove everything of the benchmark from the device."""
    try:
        yield
    finally:
        at.shell('rm -rf "$1"')


def measure(at: Place, rounds: int, megabytes: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, do: Callable[..., object], *arguments: object) -> None:
        began = time.perf_counter()
        do(*arguments)
        seconds[name].append(time.perf_counter() - began)

    at.shell('mkdir -p "$1"')
    with tempfile.TemporaryDirectory() as folder, cleared(at):
        for number in track(range(rounds), description="rounds", console=terminal()):
            runner = write_runner(Path(folder), megabytes)
            device = at.open()
            steps = [partial(timed, ADB_PUSH, adb_push, at, runner), partial(timed, FIRST, device.deploy, runner)]
            for step in steps if number % 2 else reversed(steps):
                step()
            timed(AGAIN, device.deploy, runner)
            timed(VERIFIED, device.describe, runner)
            fresh = at.open()
            timed(NEW_SESSION, fresh.deploy, runner)
            timed(RUN, whole_order, fresh, runner)
    return seconds


def report(seconds: dict[str, list[float]], megabytes: int, at: Place) -> bool:
    """Print the table; whether every limit is kept."""
    where = "a virtual device (emulated)" if at.emulated else at.serial
    table = Table(title=f"{megabytes} MB to {where}, {len(seconds[FIRST])} rounds")
    for title in ("what", "median s", "lowest", "highest", "limit", ""):
        table.add_column(title, justify="left" if title in ("what", "") else "right")
    kept = True
    push = statistics.median(seconds[ADB_PUSH])
    limits = {FIRST: LIMIT_OF_PUSH * push, **LIMITS_SECONDS}
    for name in (ADB_PUSH, FIRST, AGAIN, VERIFIED, NEW_SESSION, RUN):
        values = seconds[name]
        median = statistics.median(values)
        limit = limits.get(name)
        good = limit is None or median <= limit
        kept = kept and good
        note = f"{median / push:.2f} of adb push" if name == FIRST else ""
        shown = "" if limit is None else f"{limit:.3f}{'' if good else ' missed'}"
        table.add_row(name, f"{median:.3f}", f"{min(values):.3f}", f"{max(values):.3f}", shown, note)
    terminal().print(table)
    return kept


def main(
    rounds: Annotated[int, typer.Option(min=1, help="how often everything is done")] = 15,
    megabytes: Annotated[int, typer.Option(min=1, help="size of the runner")] = 20,
    serial: Annotated[str | None, typer.Option(help="a phone; a virtual device otherwise")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="three rounds")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples here")] = None,
) -> None:
    """Deploy and run, again and again."""
    try:
        with place(serial) as at:
            seconds = measure(at, 3 if quick else rounds, megabytes)
            kept = report(seconds, megabytes, at)
            facts = at.open().facts()
    except HarnessError as error:
        print(f"deploy: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if json_path is not None:
        samples = {"megabytes": megabytes, "device": facts, "seconds": seconds}
        json_path.write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
    sys.exit(ExitCode.OK if kept else ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
