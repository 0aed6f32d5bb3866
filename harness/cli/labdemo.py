"""Run all parts of a lab on this machine for a demonstration: two hosts of two phones, a nightly run, the page."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.text import shown
from harness.devices.base import Notify

HOSTS = {"east": "127.0.0.2", "west": "127.0.0.3"}
"""The demo's hosts, which are addresses of this machine."""
PHONES_OF_A_HOST = 2
WORDS = "eng-us\tphone\tfoʊn\neng-us\tagent\teɪdʒənt\nfra\tchat\tʃa\nger\tTelefon\tteːleːfoːn\n"
START_SECONDS, END_SECONDS = 60.0, 30.0
SHOWN_SECONDS = 150.0
"""The page looks into a store once a minute."""
BASELINE = "demo"
CLI = (sys.executable, "-m", "harness.cli")


class DemoFailed(HarnessError):
    """A part of the demo did not start, or ended."""

    cure = "its log is in the demo's folder: give --folder to keep it"


@dataclass
class Demo:
    """Hold the processes of a demo and its folder.

    ``kind`` is what each agent offers, ``demo`` or a virtual phone's. No pair of the nightly run is begun after
    ``minutes``.
    """

    folder: Path
    kind: str
    port: int
    notify: Notify
    minutes: float = 2.0
    address: str = ""
    """The page's."""
    _processes: list[tuple[str, subprocess.Popen[bytes], signal.Signals]] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start scheduler, store, agents and page, and wait until the page shows every phone."""
        (self.folder / "results").mkdir(exist_ok=True)
        self.notify(f"the demo's folder is {self.folder}: results, logs and the store of files")
        line = self._serve("scheduler", "lab", "scheduler", "--port", "0", until=r"listens at (tcp://\S+)")
        self.notify(f"1. scheduler, at {line}; Dask's own page is not ours and stays off")
        self._scheduler = line
        store = (self.folder / "store").as_uri()
        for host, address in HOSTS.items():
            self._serve(
                host, "lab", "agent", "--scheduler", line, "--store", store, "--name", host, "--listen", _own(address),
                "--state-dir", str(self.folder / f"state-{host}"), "--device", f"{self.kind}:{PHONES_OF_A_HOST}",
                *(("--demo-phones", str(self.folder / "locks")) if self.kind == "demo" else ()),
                until=r"is offered", seconds=600,
            )  # fmt: skip
            self.notify(
                f"2. agent {host}, at {_own(address)}, offers {PHONES_OF_A_HOST} phones; its files come from {store}"
            )
        page = ("lab", "serve", "--scheduler", line, "--results-url", self._shared)
        self.address = self._serve("page", *page, "--port", str(_free(self.port)), until=r"page is at (\S+)")
        self.notify(f"3. the page, at {self.address}; it shows the results of everybody in {self._shared}")
        wanted = PHONES_OF_A_HOST * len(HOSTS)
        self._await("the page shows every phone", lambda: len(self.phones()) >= wanted)

    @property
    def _shared(self) -> str:
        """Return the address of the store of results."""
        return (self.folder / "shared").as_uri()

    def phones(self) -> list[dict[str, Any]]:
        """Return the phones that the page shows."""
        found: list[dict[str, Any]] = self.ask("lab")["phones"]
        return found

    def ask(self, name: str) -> dict[str, Any]:
        """Return a document of the page."""
        with urllib.request.urlopen(f"{self.address}api/{name}.json", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def work(self) -> None:
        """Make the nightly run over all phones. Of emulated ones everything but the times is judged."""
        words = self.folder / "words.tsv"
        words.write_text(WORDS, encoding="utf-8")
        local = ("--results-dir", str(self.folder / "results"))
        results = (*local, "--results-url", self._shared)
        lab = ("--lab-scheduler", self._scheduler)
        suites = (sys.executable, "-m", "pytest", "suites", *results, *lab, "--words", str(words), "--warmup", "1")
        emulated = () if self.kind == "demo" else ("--emulated",)
        self.notify("4. a first run, on one phone: its runner is what the nightly run compares with")
        self._step("suites", *suites, "--repeat", "3", "--pair-seconds", "0", "--device", "lab:all", codes=(0,))
        self._step("baseline", *CLI, "baseline", "set", "latest", "--name", BASELINE, *emulated, *local, codes=(0,))
        self.notify("5. a nightly run over all phones, of this runner against itself")
        self._step(
            "nightly", *CLI, "nightly", "--baseline", BASELINE, "--candidate", BASELINE, "--device", "lab:all",
            "--count", "all", "--time-budget", str(self.minutes), *emulated, *results, *lab, codes=(0, 1, 3),
        )  # fmt: skip

    def check(self) -> None:
        """See on the page that all phones took part; raises DemoFailed."""
        self._await(
            "the page shows the verdicts",
            lambda: [one for one in self.ask("nights")["nights"] if one["units"] and one["state"] != "running"],
            SHOWN_SECONDS,
        )
        night = self.ask("nights")["nights"][0]
        devices = {unit["device"] for unit in night["units"]}
        if len(devices) != PHONES_OF_A_HOST * len(HOSTS):
            raise DemoFailed(f"the nightly run was of {len(devices)} phones: {', '.join(sorted(devices))}")
        for unit in night["units"]:
            self.notify(f"   {unit['device']}: {unit['verdict']}")
        self.notify(f"   nightly run {night['night']}: {night['state']}; {self.address}nights/{night['night']}")

    def stop(self) -> None:
        """Make what waits end soon; from a signal's handler or any thread."""
        self._stopping.set()

    def wait(self) -> None:
        """Wait until the demo is stopped; raises DemoFailed if a part of it ends by itself."""
        while not self._stopping.wait(0.5):
            for name, process, _ in self._processes:
                if process.poll() is not None:
                    raise DemoFailed(f"{name} has ended with {process.returncode}:\n{self._tail(name)}")

    def end(self) -> None:
        """End every process that was started, the last one first, and wait for it."""
        self._stopping.set()
        for _, process, number in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        until = time.monotonic() + END_SECONDS
        for _, process, _ in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            process.kill()
            process.wait()
        self._processes.clear()

    def _serve(self, name: str, *words: str, until: str, seconds: float = START_SECONDS) -> str:
        """Start a part that runs until it is ended; return what it prints once it works."""
        process = self._start(name, (*CLI, *words), signal.SIGTERM)
        found: list[str] = []

        def look() -> bool:
            if process.poll() is not None:
                raise DemoFailed(f"{name} has ended with {process.returncode}:\n{self._tail(name)}")
            found[:] = [match[match.lastindex or 0] for match in re.finditer(until, self._log(name))]
            return bool(found)

        self._await(f"{name} has started", look, seconds)
        return found[0]

    def _step(self, name: str, *words: str, codes: tuple[int, ...]) -> None:
        """Run a command to its end; raises DemoFailed if it ends with another status."""
        began = time.monotonic()
        process = self._start(name, words, signal.SIGINT)
        self._await(f"{name} has ended", lambda: process.poll() is not None, 3600.0)
        self._processes = [one for one in self._processes if one[1] is not process]
        if process.returncode not in codes:
            raise DemoFailed(f"{name} has ended with {process.returncode}:\n{self._tail(name)}")
        self.notify(f"   {name}: {time.monotonic() - began:.0f} s")

    def _start(self, name: str, words: Sequence[str], number: signal.Signals) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            # Sessions of their own: Ctrl-C at the terminal reaches this process alone, which ends the others in order.
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self._processes.append((name, process, number))
        return process

    def _await(self, what: str, look: Callable[[], object], seconds: float = START_SECONDS) -> None:
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(urllib.error.URLError, TimeoutError):
                if look():
                    return
            if self._stopping.wait(0.1):
                raise KeyboardInterrupt
            if time.monotonic() > until:
                raise DemoFailed(f"still not after {seconds:.0f} s: {what}")

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _tail(self, name: str) -> str:
        return shown("\n".join(self._log(name).splitlines()[-25:]))


@contextlib.contextmanager
def stopped_by_signals(demo: Demo) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the demo in this context."""
    before = {number: signal.signal(number, lambda *_: demo.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own(address: str) -> str:
    """Return the address if this machine has it, else 127.0.0.1: macOS has no other of 127.0.0.0/8."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return "127.0.0.1"
    return address


def _free(port: int) -> int:
    """Return the port if it is free, else 0, which takes any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
