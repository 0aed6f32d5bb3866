"""Benches whose runners are processes of this machine: their runners, and what of them still runs."""

from __future__ import annotations

import os
import signal
import time
import uuid
from abc import ABC
from pathlib import Path

from harness.conformance.behaviour import EVERYTHING, python
from harness.conformance.bench import Bench
from harness.conformance.fake_runners import write_runner
from harness.protocol.schema import WorkOrder

MARK = "HARNESS_TESTS_BENCH"
"""A variable that all processes of a test inherit."""


class LocalBench(Bench, ABC):
    """Its runners are scripts in Python, and are known by a variable in their environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mark = uuid.uuid4().hex
        os.environ[MARK] = self.mark

    def runner(
        self, behaviour: str = EVERYTHING, order: WorkOrder | None = None, *, describing: str = "", padding: int = 0
    ) -> Path:
        del order
        text = python(describing) or "pass"
        return write_runner(self.folder, python(behaviour), describing=text, padding=padding)

    def foreign(self) -> Path:
        path = self.folder / "foreign"
        path.write_bytes(b"\x7fELF nothing of ours")
        path.chmod(0o755)
        return path

    def processes(self) -> list[int]:
        """Return what runs of this test's runners and their children."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            # A killed orphan has no command line any more; this process and other harnesses are no runners.
            ours = f"{MARK}={self.mark}".encode() in environment and int(entry.name) != os.getpid()
            if ours and command and b"harness.conformance" not in command:
                found.append(int(entry.name))
        return found

    def runs(self) -> bool:
        return self.processes() != []

    def kill_runner(self) -> None:
        (pid,) = self.processes()
        os.kill(pid, signal.SIGKILL)

    def look_at_what_was_left(self) -> None:
        assert self.runs()

    def close(self) -> None:
        super().close()
        os.environ.pop(MARK, None)

    def assert_no_process(self) -> None:
        until = time.monotonic() + 20
        while self.runs() and time.monotonic() < until:
            time.sleep(0.02)
        assert self.processes() == []
