"""What the scenarios need to do to a device of any kind. A kind implements it once, next to its tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.conformance.arrivals import samples
from harness.conformance.behaviour import EVERYTHING
from harness.conformance.fake_runners import make_order
from harness.devices.base import AnyRecord, Device, RunResult
from harness.protocol.schema import WorkOrder

DEADLINE = 60.0
"""Of an order that should end long before."""
_Device = TypeVar("_Device", bound=Device)


class Bench(ABC):
    """One device and what is opened on it, for one test. Whatever a test does, :meth:`close` leaves nothing behind."""

    hears_status: bool = True
    """Whether the exit status of a runner is heard of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir: Path | None = None
        """Where runs have their work folders, if a test is to look there."""
        self.notices: list[str] = []
        """The messages for the waiting caller."""
        self.seen: list[AnyRecord] = []
        """What arrived, as it arrived."""
        self._opened: list[Device] = []
        self._when: list[tuple[str, Callable[[], object]]] = []

    @property
    def locks(self) -> Path:
        """Where every device of this test has its lock."""
        return self.folder / "locks"

    @abstractmethod
    def open(self, *, max_log_bytes: int | None = None) -> Device:
        """Open the device, with :attr:`locks` and :meth:`notify` and short waits, and :meth:`keep` it."""

    @abstractmethod
    def runner(
        self, behaviour: str = EVERYTHING, order: WorkOrder | None = None, *, describing: str = "", padding: int = 0
    ) -> Path:
        """Write a runner that behaves so, and so when it is asked what it is. ``padding`` are bytes that do nothing."""

    @abstractmethod
    def foreign(self) -> Path:
        """Write a file that is not a program of this device."""

    @abstractmethod
    def opening(self) -> str:
        """Return Python that opens the device as ``device`` in another process."""

    @abstractmethod
    def runs(self) -> bool:
        """Return whether a runner runs on the device now."""

    @abstractmethod
    def kill_runner(self) -> None:
        """End the runner by SIGKILL, as a system does that wants its memory."""

    @abstractmethod
    def assert_clean(self) -> None:
        """Fail if a run has left something: a process, a file, a setting. The device can be reached."""

    def look_at_what_was_left(self) -> None:
        """Fail if what a harness that was killed has left is not what it should be."""
        return

    def look_at_what_became_of_it(self, result: RunResult) -> None:
        """Fail if the next run did not put that right."""
        del result

    def open_bare(self) -> Device:
        """Open the device as one that starts programs of its own kind, where the scenarios' runners are scripts."""
        return self.open()

    def keep(self, device: _Device) -> _Device:
        """Have a device closed behind the test at the latest."""
        self._opened.append(device)
        return device

    def run(
        self,
        order: WorkOrder | None = None,
        behaviour: str = EVERYTHING,
        *,
        device: Device | None = None,
        then: Callable[[AnyRecord], object] | None = None,
        **options: Any,
    ) -> RunResult:
        """Run a runner that behaves so; ``then`` is called with every record as it arrives."""
        order = order or make_order()

        def take(record: AnyRecord) -> None:
            self.seen.append(record)
            if then is not None:
                then(record)

        options = {"workdir": self.workdir, "deadline": DEADLINE, **options}
        return (device or self.open()).run(self.runner(behaviour, order), order, on_record=take, **options)

    def notify(self, line: str) -> None:
        """Keep what is reported, and let happen what waits for it."""
        self.notices.append(line)
        for words, do in [one for one in self._when if one[0] in line]:
            self._when.remove((words, do))
            do()

    def when_noticed(self, words: str, do: Callable[[], object]) -> None:
        """Have this happen once these words are reported: a moment of the harness's own, not of the clock."""
        self._when.append((words, do))

    @contextlib.contextmanager
    def other_process(self, script: str) -> Iterator[subprocess.Popen[str]]:
        """Run Python in another process that has opened the device as ``device``."""
        text = f"from harness.conformance.fake_runners import make_order\n{self.opening()}\n{script}"
        with subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextlib.contextmanager
    def other_harness(self, behaviour: str) -> Iterator[subprocess.Popen[str]]:
        """Another harness that runs the first order on the device, at a moment when its first sample has arrived."""
        runner = self.runner(behaviour, make_order())
        script = (
            "import pathlib\n"
            "try:\n"
            f"    workdir = {self.workdir and str(self.workdir)!r}\n"
            f"    device.run(pathlib.Path({str(runner)!r}), make_order(), workdir and pathlib.Path(workdir),\n"
            "               on_record=lambda record: print(record.record, flush=True))\n"
            "finally:\n"
            "    device.close()\n"
        )
        with self.other_process(script) as process:
            assert process.stdout is not None
            assert "sample\n" in iter(process.stdout.readline, ""), process.stderr and process.stderr.read()
            yield process

    def assert_kept(self, result: RunResult, count: int) -> None:
        """Fail if the result has not so many samples, or not just the records that arrived."""
        assert samples(result.records) == count
        assert self.seen == list(result.records)

    def close_devices(self) -> None:
        for device in self._opened:
            device.close()

    def close(self) -> None:
        self.close_devices()
        assert not self._when, f"never reported: {[words for words, _ in self._when]}"


class Cable(Bench):
    """A device at the other end of a cable."""

    left_words: str = ""
    """What is reported of a run that could not be cleaned up after, at the latest by the next run."""

    @abstractmethod
    def unplug(self) -> None:
        """Cut the device off, at once."""

    @abstractmethod
    def plug(self) -> None:
        """Have it back."""

    @abstractmethod
    def lose_power(self, left: int | None) -> None:
        """Cut it off, end what runs there, and leave of the result file so many bytes; None: no file."""

    @abstractmethod
    def left(self) -> list[str]:
        """Name what runs have left on the device, which need not be reached for that."""

    @abstractmethod
    def at_pull(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
        """Have this happen once, when a result was asked for as a whole and before its bytes are read."""

    def blink(self) -> None:
        """Cut the device off until the harness waits for it."""
        self.unplug()
        self.when_noticed("waiting up to", self.plug)


class Charged(Bench):
    """A device with a battery."""

    @abstractmethod
    def set_battery(self, *, percent: int | None = None, celsius: float | None = None) -> None:
        """Change what the battery is like, on the device."""
