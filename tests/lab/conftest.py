"""A lab on loopback: its scheduler and its agents are processes, which a test may kill."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.devices import opened, parse_device
from harness.lab.client import Lab, Silence
from harness.lab.device import LabDevice
from harness.lab.security import Certificates
from harness.lab.wire import Card
from tests.guard.sitecustomize import ALLOWED
from tests.lab.pocket import begin, put_phone

PATIENCE = 60.0
"""How long a test waits for what should happen soon, on a machine that does much else."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.lab.preload"])


def await_(what: str, look: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until ``look`` returns something true."""
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until, f"still not: {what}"
        time.sleep(0.05)


class Town:
    """A scheduler, its agents, their phones and the store, below one folder."""

    def __init__(self, folder: Path, certificates: Certificates | None = None) -> None:
        self.folder = folder
        self.certificates = certificates
        self.mark = uuid.uuid4().hex
        """By which the runners of its agents are known."""
        self.store = f"file://{folder}/store"
        self.environment: dict[str, str] = {}
        """Further variables of the processes that are started from now on."""
        self.processes: dict[str, ForkServerProcess] = {}
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.address = f"{'tls' if certificates else 'tcp'}://127.0.0.1:{self.port}"
        self._lab: Lab | None = None

    @property
    def lab(self) -> Lab:
        """A client's connection, for looks at the lab."""
        if self._lab is None:
            self._lab = Lab(self.address, self.certificates)
        return self._lab

    def scheduler(self, tokens: Path | None = None) -> None:
        self.start("scheduler", "scheduler", str(self.port), "127.0.0.1", str(tokens or ""))
        self.await_line("scheduler", "listens at")

    def agent(self, host: str, *serials: str, **told: Any) -> None:
        """Start a host's agent, with these phones."""
        for serial in serials:
            put_phone(self.pocket(host), serial, **told)
        self.pocket(host).mkdir(exist_ok=True)
        self.start(host, "agent", self.address, self.store, host, str(self.folder / f"state-{host}"))

    def pocket(self, host: str) -> Path:
        return self.folder / f"pocket-{host}"

    def start(self, name: str, *words: str) -> None:
        job, *rest = words
        self.pocket(name).mkdir(exist_ok=True)
        # What the test may start, its processes may; they are forked from one that is older than the test.
        environment = {ALLOWED: os.environ[ALLOWED], **self.environment} if ALLOWED in os.environ else self.environment
        place = (str(self.log(name)), str(self.pocket(name)), self.mark, self.certificates, environment)
        arguments = (job, *place, rest)
        # Importing Dask takes a second of each process that starts by itself.
        self.processes[name] = _FORKS.Process(target=begin, args=arguments, daemon=True)
        self.processes[name].start()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def await_line(self, name: str, text: str) -> None:
        def look() -> bool:
            said = self.log(name).read_text(encoding="utf-8") if self.log(name).exists() else ""
            assert self.processes[name].is_alive(), said
            return text in said

        await_(f"{name} prints {text!r}", look)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes[name]
        os.kill(process.pid or 0, number)
        if number == signal.SIGKILL:
            process.join(PATIENCE)

    def exit_code(self, name: str) -> int | None:
        """What a process that is ending ends with."""
        self.processes[name].join(PATIENCE)
        return self.processes[name].exitcode

    def cards(self) -> dict[str, Card]:
        """The phones that the scheduler knows; none while it does not answer."""
        with contextlib.suppress(Silence):
            return self.lab.census().phones
        return {}

    def await_state(self, phone: str, *states: str) -> Card:
        """Wait until a phone has one of these states."""
        found: list[Card] = []
        seen: dict[str, Card] = {}

        def look() -> bool:
            seen.clear()
            seen.update(self.cards())
            card = seen.get(phone)
            found[:] = [card] if card is not None and card.state in states else []
            return bool(found)

        try:
            await_(f"{phone} is {' or '.join(states)}", look)
        except AssertionError as error:
            cards = "; ".join(f"{one.name} is {one.state}: {one.reason} {one.work}" for one in seen.values())
            logs = "".join(f"\n{name}: {self.log(name).read_text(encoding='utf-8')[-1500:]}" for name in self.processes)
            raise AssertionError(f"{error}; {cards}{logs}") from error
        return found[0]

    def await_gone(self, phone: str) -> None:
        await_(f"{phone} is gone", lambda: phone not in self.cards())

    @contextlib.contextmanager
    def open(self, selector: str, notices: list[str] | None = None, /, **options: str) -> Iterator[LabDevice]:
        """Open one phone as a client does."""
        selection = parse_device(f"lab:{selector}", lab_scheduler=self.address, **options)
        said: list[str] = [] if notices is None else notices
        with opened(selection, cache=Cache(self.folder / "client-cache"), notify=said.append) as [device]:
            assert isinstance(device, LabDevice)
            yield device

    def close(self) -> None:
        if self._lab is not None:
            self._lab.close()
        for process in self.processes.values():
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGCONT)
                process.kill()
            process.join(PATIENCE)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder that nobody has made."""
    return tmp_path / "results"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a results store in a folder."""
    return f"file://{tmp_path}/store"


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A lab of two hosts with two equal phones each. Its processes are not for killing."""
    built = Town(tmp_path_factory.mktemp("town"))
    try:
        built.scheduler()
        built.agent("north", "n1", "n2")
        built.agent("south", "s1", "s2", model="Pocket 2")
        for name in ("north/n1", "north/n2", "south/s1", "south/s2"):
            built.await_state(name, "free")
        yield built
    finally:
        built.close()


@pytest.fixture
def village(tmp_path: Path) -> Iterator[Town]:
    """A lab that a test builds, and may kill."""
    built = Town(tmp_path)
    try:
        yield built
    finally:
        built.close()
