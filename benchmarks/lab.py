"""Run many orders on many fake phones of a lab on this machine, and measure what the lab itself costs.

python benchmarks/lab.py                    # 60 phones on three agents, 600 orders of 2 s each
python benchmarks/lab.py --quick            # 6 phones, 12 orders of 0.2 s

A fake phone sleeps and then answers, so that the figures are the lab's alone: throughput beside what the same phones
did without a lab, what an order takes beyond its phone's time, and the scheduler's memory. It needs the extra `lab`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.core.cache import Cache
from harness.devices import RunResult, Unavailable, opened, parse_device
from harness.devices.base import DEFAULT_DEADLINE, Device, Notify, OnRecord
from harness.devices.host import HostDevice
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection, device_kinds
from harness.devices.lock import DeviceLock
from harness.protocol.schema import GenerationWorkload, WorkOrder

ARCHIVE = "ab" * 32
WAIT_SECONDS = 120.0


class SleepingPhone(HostDevice):
    """A phone whose orders take a given time and run nothing."""

    kind = "sleeping"

    def __init__(self, name: str, seconds: float, locks: Path) -> None:
        super().__init__()
        self.name = name
        self._seconds = seconds
        self._lock = DeviceLock(name, locks)

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "serial": self.name, "model": "Sleeper", "os": "1"}

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        began = time.monotonic()
        time.sleep(self._seconds)
        observed = {"began": began}  # by a clock that all processes of this machine share
        return RunResult(
            order.order_id, (), complete=False, reason="slept", wall_seconds=self._seconds, observed=observed
        )


def offer(scheduler: str, folder: str, host: str, phones: int, seconds: float) -> None:
    """Run an agent with so many sleeping phones."""
    from harness.lab.settings import configure

    configure()
    from harness.lab.agent import AgentOptions, run_agent

    @contextmanager
    def open_phones(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
        yield [SleepingPhone(str(selection.which), seconds, Path(folder) / "locks")]

    def listed(_options: Options) -> list[ListedDevice]:
        return [ListedDevice(f"sleeping:{host}-{at}", "ready", serial=f"{host}-{at}") for at in range(phones)]

    device_kinds()["sleeping"] = DeviceKind("sleeping", open_phones, listed, attaches=True)
    options = AgentOptions(scheduler, f"file://{folder}/store", host, Path(folder) / host, ("sleeping:all",))

    run_agent(options, lambda _line: None, Cache(Path(folder) / host / "cache"))


def connect(port: int) -> None:
    """Run the scheduler."""
    from harness.lab.settings import configure

    configure()
    from harness.lab.scheduler import SchedulerOptions, run_scheduler

    asyncio.run(run_scheduler(SchedulerOptions(port=port), lambda _line: None))


@dataclass
class Figures:
    """Hold what one run measured; times are in seconds."""

    phones: int
    orders: int
    seconds_each: float
    opening: float
    """What the client takes to connect to the lab and to the agents of all phones, before the first order."""
    wall: float
    ideal: float
    share_of_ideal: float
    """1 means that the lab costs no throughput."""
    alone: float
    """What the same phones took for the same orders without a lab, from threads of this process, right after it."""
    share_of_alone: float
    beyond_median: float
    """What an order takes beyond its phone's time: its lease, its files, its result."""
    beyond_p95: float
    dispatch_median: float
    """The part of it until the phone begins."""
    dispatch_p95: float
    scheduler_megabytes: float
    scheduler_cpu_seconds: float
    agents_cpu_seconds: float
    client_cpu_seconds: float
    load_before: float
    """The machine's load average of one minute, before the lab starts."""
    failed: int


def order(number: int) -> WorkOrder:
    model = GenerationWorkload(
        name="g2p", functions={}, use_kv_cache=False, batch_size=1, max_input_bytes=8, max_output_len=8, vocab_size=8
    )
    return WorkOrder(order_id=f"order-{number}", archive_sha256=ARCHIVE, workloads=[model], items=[])


def measure(folder: Path, hosts: int, phones: int, orders: int, seconds: float) -> Figures:
    """Start a lab, run the orders from as many threads of a client as there are phones, and end it."""
    from harness.lab.client import Lab

    load = os.getloadavg()[0]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    spawn = multiprocessing.get_context("spawn")
    scheduler = spawn.Process(target=connect, args=(port,), daemon=True)
    each = phones // hosts
    agents = [
        spawn.Process(target=offer, args=(address, str(folder), f"host{at}", each, seconds), daemon=True)
        for at in range(hosts)
    ]
    processes, stack = [scheduler, *agents], ExitStack()
    for process in processes:
        process.start()
    try:
        until = time.monotonic() + WAIT_SECONDS
        lab = None
        while lab is None or len(lab.cards()) < each * hosts:
            if time.monotonic() > until:
                raise SystemExit("the lab's phones did not come")
            if lab is None:
                try:
                    lab = Lab(address, None)
                except Exception:
                    time.sleep(0.5)
            time.sleep(0.2)
        runner = folder / "runner"
        runner.write_bytes(os.urandom(1_000_000))
        lab.close()
        opening = time.monotonic()
        selection = parse_device("lab:all", lab_scheduler=address, count="all")
        devices = stack.enter_context(opened(selection, cache=Cache(folder / "client"), notify=lambda _line: None))
        opening = time.monotonic() - opening
        beyond: list[float] = []
        dispatch: list[float] = []
        failed: list[str] = []

        def work(device: Device | Unavailable, numbers: range) -> None:
            assert not isinstance(device, Unavailable)
            for number in numbers:
                began = time.monotonic()
                result = device.run(runner, order(number))
                beyond.append(time.monotonic() - began - seconds)
                dispatch.append(result.observed.get("began", began) - began)
                if result.reason != "slept":
                    failed.append(str(result.reason))

        count = orders // len(devices)
        clients = [
            threading.Thread(target=work, args=(device, range(at * count, (at + 1) * count)))
            for at, device in enumerate(devices)
        ]
        pids = [*(process.pid for process in processes), None]
        before = [_cpu(pid) for pid in pids]
        began = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        wall = time.monotonic() - began
        used = [_cpu(pid) - was for pid, was in zip(pids, before, strict=True)]
        ideal = count * seconds
        memory = psutil.Process(scheduler.pid).memory_info().rss / 1e6
        alone = measure_alone(folder, len(devices), count, seconds)
        return Figures(
            phones=len(devices),
            orders=count * len(devices),
            seconds_each=seconds,
            opening=opening,
            wall=wall,
            ideal=ideal,
            share_of_ideal=ideal / wall,
            alone=alone,
            share_of_alone=alone / wall,
            beyond_median=statistics.median(beyond),
            beyond_p95=statistics.quantiles(beyond, n=20)[-1],
            dispatch_median=statistics.median(dispatch),
            dispatch_p95=statistics.quantiles(dispatch, n=20)[-1],
            scheduler_megabytes=memory,
            scheduler_cpu_seconds=used[0],
            agents_cpu_seconds=sum(used[1:-1]),
            client_cpu_seconds=used[-1],
            load_before=load,
            failed=len(failed),
        )
    finally:
        stack.close()
        for process in processes:
            process.kill()
            process.join()


def measure_alone(folder: Path, phones: int, each: int, seconds: float) -> float:
    """Run as many orders on as many phones of this process; return the seconds that all of them take together."""
    found = [SleepingPhone(f"alone-{at}", seconds, folder / "alone") for at in range(phones)]

    def work(phone: SleepingPhone) -> None:
        for number in range(each):
            with phone.reserve():
                phone.run(folder / "runner", order(number))

    threads = [threading.Thread(target=work, args=(phone,)) for phone in found]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def _cpu(pid: int | None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a first look, in seconds")
    parser.add_argument("--phones", type=int, default=60)
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=2.0, help="that each order takes on its phone")
    parser.add_argument("--json", type=Path, metavar="FILE")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.phones, chosen.orders, chosen.seconds = 6, 12, 0.2
    with tempfile.TemporaryDirectory(prefix="harness-lab-") as folder:
        figures = measure(Path(folder), 3, chosen.phones, chosen.orders, chosen.seconds)
    for name, value in asdict(figures).items():
        print(f"{name:24}{value:12.3f}" if isinstance(value, float) else f"{name:24}{value:12}")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(figures), indent=1) + "\n", encoding="utf-8")
    if figures.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
