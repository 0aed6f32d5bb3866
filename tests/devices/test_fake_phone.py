"""What every device has to do, on a phone that is a folder of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from harness.conformance.bench import Cable, Charged
from harness.conformance.faults import Ends, raises
from harness.conformance.losing import Filling, Losing, Settling
from harness.conformance.processes import LocalBench
from harness.conformance.running import Reading, Running
from harness.devices.errors import RunnerUnusable
from tests.devices.fake_phone import RUNNERS, FakeDevice, FakePhone

pytestmark = pytest.mark.programs


class FakeBench(LocalBench, Cable, Charged):
    left_words = "removed what was left"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.phone = FakePhone(folder / "phone")

    def open(self, *, max_log_bytes: int | None = None) -> FakeDevice:
        device = FakeDevice(
            self.phone, lock_folder=self.locks, max_log_bytes=max_log_bytes or 2**26, notify=self.notify
        )
        return self.keep(device)

    def opening(self) -> str:
        return (
            "import pathlib\n"
            "from tests.devices.fake_phone import FakeDevice, FakePhone\n"
            f"phone = FakePhone(pathlib.Path({str(self.phone.folder)!r}))\n"
            f"device = FakeDevice(phone, lock_folder=pathlib.Path({str(self.locks)!r}))\n"
        )

    def unplug(self) -> None:
        self.phone.plugged = False

    def plug(self) -> None:
        self.phone.plugged = True

    def lose_power(self, left: int | None) -> None:
        self.unplug()
        self.kill_runner()
        (result,) = self.phone.folder.glob("result-*")
        if left is None:
            result.unlink()
        else:
            result.write_bytes(result.read_bytes()[:left])

    def left(self) -> list[str]:
        halves = (self.phone.folder / RUNNERS).glob("*.half")
        return [path.name for path in (*self.phone.folder.glob("*.json*"), *halves)]

    def at_pull(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
        monkeypatch.setattr(self.phone, "at_pull", do)

    def set_battery(self, *, percent: int | None = None, celsius: float | None = None) -> None:
        wanted = {"battery_percent": percent, "battery_celsius": celsius}
        self.phone.battery |= {name: value for name, value in wanted.items() if value is not None}

    def assert_clean(self) -> None:
        self.assert_no_process()
        assert self.left() == []


class TestFake(Running, Reading, Losing, Settling, Filling):
    ends: ClassVar[dict[str, Ends]] = {"test_a_foreign_runner": raises(RunnerUnusable, "Exec format error")}

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[FakeBench]:
        bench = FakeBench(tmp_path)
        yield bench
        bench.plug()
        bench.close()

    @pytest.fixture
    def tight(self, bench: FakeBench) -> FakeBench:
        bench.phone.space_bytes = 2**20
        return bench
