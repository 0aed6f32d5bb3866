"""``--device pocket``: phones that are files in a folder, and the processes of a lab that offers them.

A phone is there while its file ``SERIAL.json`` is. The file holds its facts, and what is wrong with it now: ``hot``,
``silent`` (it does not answer), ``stuck`` (its answer takes for ever) or ``failing`` (its orders end in an error). Its
runners are processes of this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.conformance.processes import MARK
from harness.core.cache import Cache
from harness.devices.base import DEFAULT_DEADLINE, Device, Notify, OnRecord, RunResult, silent
from harness.devices.errors import DeviceLost, DeviceNotReady, NoDevice
from harness.devices.facts import host_facts
from harness.devices.host import HostDevice
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection, device_kinds
from harness.devices.lock import DeviceLock
from harness.lab.security import Certificates
from harness.protocol.schema import WorkOrder

FOLDER = "HARNESS_TESTS_POCKET"
"""The folder of the phones that a process may see."""
LEASE_SECONDS = 6.0


class PocketPhone(HostDevice):
    kind = "pocket"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.serial = path.stem
        self.name = f"{self.told('model')} ({self.serial})"
        self.emulated = bool(self.told("emulated"))
        self._lock = DeviceLock(self.serial, path.parent / "locks")

    def told(self, key: str) -> Any:
        try:
            return json.loads(self.path.read_text()).get(key)
        except FileNotFoundError:
            return True if key == "silent" else None

    def facts(self) -> dict[str, Any]:
        told = json.loads(self.path.read_text())
        return {**host_facts(), **told, "kind": self.kind, "name": self.name, "serial": self.serial}

    def conditions(self) -> dict[str, Any]:
        if self.told("stuck"):
            (self.path.parent / "stuck").touch()
            time.sleep(600)
        return {"unavailable": "no answer"} if self.told("silent") else {"battery_percent": 80}

    def settle(self, *, wait_seconds: float = 0.0, notify: Notify = silent) -> None:
        if self.told("hot"):
            raise DeviceNotReady(f"{self.name} is hot")

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        if self.told("failing"):
            raise DeviceLost(f"{self.name} fell off the desk")
        return super().run(runner, order, workdir, deadline, on_record)


def _folder() -> Path:
    return Path(os.environ[FOLDER])


@contextmanager
def _open(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
    path = _folder() / f"{selection.which}.json"
    if not path.is_file():
        raise NoDevice(f"no phone {selection.which} is in the pocket")
    yield [PocketPhone(path)]


def _list_attached(_options: Options) -> list[ListedDevice]:
    return [ListedDevice(f"pocket:{path.stem}", "ready", serial=path.stem) for path in sorted(_folder().glob("*.json"))]


POCKET = DeviceKind("pocket", _open, _list_attached, attaches=True)


def put_phone(folder: Path, serial: str, **told: Any) -> None:
    """Put a phone into the pocket, or change what is wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"model": "Pocket 1", "soc": "ACME SM8650", "os": "Pocket OS 15.1", "memory_bytes": 8 * 2**30, **told}
    partial = folder / f".{serial}"
    partial.write_text(json.dumps(facts))
    partial.rename(folder / f"{serial}.json")


def scheduler(certificates: Certificates | None, port: str, listen: str = "127.0.0.1", tokens: str = "") -> None:
    """Run a scheduler that gives a silent host up sooner than an ordinary one."""
    import dask.config

    from harness.lab.settings import configure

    configure()
    dask.config.set({"distributed.scheduler.worker-ttl": "4s"})
    from harness.lab.scheduler import SchedulerOptions, run_scheduler

    asyncio.run(
        run_scheduler(SchedulerOptions(listen, int(port), certificates, tokens=Path(tokens) if tokens else None), _say)
    )


def agent(
    certificates: Certificates | None,
    scheduler: str,
    store: str,
    host: str,
    state: str,
    compiling: str = "0",
    listen: str = "127.0.0.1",
) -> None:
    """Run an agent that offers what is in the pocket, looks often, and gives a silent client up sooner."""
    from harness.lab.settings import configure

    configure()
    from harness.lab.agent import AgentOptions, run_agent

    device_kinds()["pocket"] = POCKET
    options = AgentOptions(
        scheduler,
        store,
        host,
        Path(state),
        ("pocket:all",),
        look_seconds=0.3,
        health_seconds=0.5,
        lease_seconds=LEASE_SECONDS,
        certificates=certificates,
        compile=int(compiling),
        listen=listen,
    )

    run_agent(options, _say, Cache(Path(state) / "cache"))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def begin(
    job: str,
    log: str,
    pocket: str,
    mark: str,
    certificates: Certificates | None,
    environment: dict[str, str],
    words: Sequence[str],
) -> None:
    """Become an agent or a scheduler, in a process that was forked for it."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ[FOLDER] = pocket
    os.environ[MARK] = mark
    os.environ.update(environment)
    jobs: dict[str, Callable[..., None]] = {"agent": agent, "scheduler": scheduler}
    jobs[job](certificates, *words)
