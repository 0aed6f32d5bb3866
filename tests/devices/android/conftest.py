"""A virtual device for each test, as the Android backend sees it, and a look at what was left on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.devices.android import AndroidDevice, AndroidOptions, Server, Watch
from harness.devices.base import AnyRecord, RunResult
from harness.protocol.schema import WorkOrder
from harness.virtual.android import AdbServer, VirtualAndroid, virtual_androids
from tests.devices.android.runners import LAUNCHER, write_runner
from tests.devices.arrivals import wait_for_timers

QUICK = AndroidOptions(grace_seconds=3.0, settle_poll_seconds=0.1, watch=Watch(clock_seconds=0.1, thermal_seconds=0.2))
IDLE = {"adbd", "ld-linux-x86-64", "bwrap", "sh", "cat", "ls"}
"""What may run on an idle device while it is asked what runs on it."""


@dataclass
class Scene:
    """One virtual device, its adb server, and what is opened on them."""

    adb: AdbServer
    virtual: VirtualAndroid
    folder: Path
    said: list[str] = field(default_factory=list)
    seen: list[AnyRecord] = field(default_factory=list)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def server(self) -> Server:
        return Server(self.adb.port, starts=False)

    @property
    def tmp(self) -> Path:
        """The device's /data/local/tmp, as this machine sees it."""
        return self.virtual.data / "local/tmp"

    def open(self, launcher: tuple[str, ...] = LAUNCHER, options: AndroidOptions = QUICK) -> AndroidDevice:
        device = AndroidDevice(
            self.server,
            self.virtual.serial,
            launcher=launcher,
            emulated=True,
            options=options,
            lock_folder=self.folder / "locks",
            notify=self.said.append,
        )
        self.closing.callback(device.close)
        return device

    def run(
        self,
        order: WorkOrder,
        body: str = "everything",
        *,
        device: AndroidDevice | None = None,
        then: Callable[[AnyRecord], None] | None = None,
        **options: Any,
    ) -> RunResult:
        """Run a fake runner; ``then`` is called with every record as it arrives."""

        def take(record: AnyRecord) -> None:
            self.seen.append(record)
            if then is not None:
                then(record)

        runner = write_runner(self.folder, order, body)
        return (device or self.open()).run(runner, order, on_record=take, **options)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.tmp.iterdir() if path.name != "harness-store")

    def half_pushed(self) -> list[str]:
        store = self.tmp / "harness-store"
        return [path.name for path in store.iterdir() if "." in path.name] if store.exists() else []

    def processes(self) -> set[str]:
        """Names of what runs on the device besides what asks."""
        out = self.adb.client.device(self.virtual.serial).shell2("cat /proc/[0-9]*/comm", v2=True).stdout
        return {name for name in out.split() if name not in IDLE}

    def assert_clean(self) -> None:
        """Nothing of a run is left: no folder, no half-pushed runner, no process."""
        assert self.folders() == []
        assert self.half_pushed() == []
        until = time.monotonic() + 20
        while self.processes() and time.monotonic() < until:
            time.sleep(0.05)
        assert self.processes() == set()


@pytest.fixture
def scene(tmp_path: Path, user_cache: Cache) -> Iterator[Scene]:
    with virtual_androids(1, cache=user_cache, progress=print) as (adb, devices):
        scene = Scene(adb, devices[0], tmp_path)
        with scene.closing:
            yield scene
    wait_for_timers()
