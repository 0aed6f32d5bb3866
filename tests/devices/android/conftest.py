"""A virtual device for each test, as the Android backend sees it, and a look at what was left on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import adbutils.sync
import pytest

from harness.conformance.behaviour import EVERYTHING
from harness.conformance.bench import Cable, Charged
from harness.conformance.fake_runners import make_order
from harness.core.cache import Cache
from harness.devices.android import AndroidDevice, AndroidOptions, Server, Watch
from harness.devices.base import RunResult
from harness.protocol.schema import WorkOrder
from harness.virtual.android import AdbServer, VirtualAndroid, virtual_androids
from tests.devices.android.runners import LAUNCHER, write_runner

QUICK = AndroidOptions(grace_seconds=3.0, settle_poll_seconds=0.1, watch=Watch(clock_seconds=0.1, thermal_seconds=0.2))
IDLE = {"adbd", "ld-linux-x86-64", "bwrap", "sh", "cat", "ls"}
"""What may run on an idle device while it is asked what runs on it."""


class Scene(Cable, Charged):
    """One virtual device, its adb server, and what is opened on them."""

    left_words = "removed harness-"

    def __init__(self, adb: AdbServer, virtual: VirtualAndroid, folder: Path) -> None:
        super().__init__(folder)
        self.adb = adb
        self.virtual = virtual
        self.restores = True
        """Whether it lets its settings be put back."""
        self.stays_on: str | None = None
        """Its setting of before for staying on while it is charged."""

    @property
    def server(self) -> Server:
        return Server(self.adb.port, starts=False)

    @property
    def tmp(self) -> Path:
        """The device's /data/local/tmp, as this machine sees it."""
        return self.virtual.data / "local/tmp"

    def open(
        self,
        *,
        max_log_bytes: int | None = None,
        launcher: tuple[str, ...] = LAUNCHER,
        options: AndroidOptions = QUICK,
    ) -> AndroidDevice:
        if max_log_bytes is not None:
            options = replace(options, watch=replace(options.watch, max_log_bytes=max_log_bytes))
        device = AndroidDevice(
            self.server,
            self.virtual.serial,
            launcher=launcher,
            emulated=True,
            options=options,
            lock_folder=self.locks,
            notify=self.notify,
        )
        return self.keep(device)

    def open_bare(self) -> AndroidDevice:
        return self.open(launcher=())

    def opening(self) -> str:
        return (
            "import pathlib\n"
            "from harness.devices.android import AndroidDevice, Server\n"
            "from tests.devices.android.conftest import LAUNCHER, QUICK\n"
            f"device = AndroidDevice(Server({self.adb.port}, starts=False), {self.virtual.serial!r}, options=QUICK,\n"
            f"    launcher=LAUNCHER, lock_folder=pathlib.Path({str(self.locks)!r}))\n"
        )

    def runner(
        self, behaviour: str = EVERYTHING, order: WorkOrder | None = None, *, describing: str = "", padding: int = 0
    ) -> Path:
        # A behaviour is a text in the shell's language. Nobody ends the children of what is asked for a description.
        return write_runner(
            self.folder,
            order or make_order(),
            behaviour,
            describing=describing.replace("stay", "exec sleep 600") or ":",
            padding=padding,
        )

    def foreign(self) -> Path:
        path = self.folder / "foreign"
        path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
        return path

    def unplug(self) -> None:
        self.virtual.kill()

    def plug(self) -> None:
        self.virtual.restart()

    def lose_power(self, left: int | None) -> None:
        self.virtual.kill()
        (result,) = self.tmp.glob("harness-*/result-1.jsonl")
        if left is None:
            result.unlink()
        else:
            result.write_bytes(result.read_bytes()[:left])

    def left(self) -> list[str]:
        return [*self.folders(), *self.half_pushed()]

    def at_pull(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
        events, real = [do], adbutils.sync.Sync.iter_content

        def pull(sync: Any, path: str) -> Iterator[bytes]:
            if events:
                events.pop()()
            return real(sync, path)  # type: ignore[no-any-return]

        monkeypatch.setattr(adbutils.sync.Sync, "iter_content", pull)

    def set_battery(self, *, percent: int | None = None, celsius: float | None = None) -> None:
        tenths = None if celsius is None else round(celsius * 10)
        self.virtual.set_battery(level=percent, temperature_tenths=tenths)

    def runs(self) -> bool:
        return "sleep" in self.processes()

    def kill_runner(self) -> None:
        # With what it waits by, which would hold its output open. The words are put together there, so that the
        # shells that look for them do not have them themselves.
        find = (
            "store=harness-; for file in /proc/[0-9]*/cmdline; do\n"
            "  case $(tr '\\0' ' ' < $file) in 'sleep 600 '|*\"${store}store/\"*' --stream ')\n"
            "    pid=${file#/proc/}; kill -KILL ${pid%/cmdline}; echo killed ;;\n"
            "  esac\ndone"
        )
        assert self.adb.client.device(self.virtual.serial).shell2(find, v2=True).stdout.count("killed") == 2

    def look_at_what_was_left(self) -> None:
        (self._left,) = self.folders()
        self.assert_idle()  # adbd ends the run's shell, and that ends the runner: no next run is needed for it
        assert self.virtual.setting("global", "stay_on_while_plugged_in") == "7"

    def look_at_what_became_of_it(self, result: RunResult) -> None:
        assert any(line.startswith(f"removed {self._left}") for line in self.notices)
        (knob,) = [knob for knob in result.knobs if knob.name == "stay_awake"]
        assert knob.detail == "was null"
        assert self.virtual.setting("global", "stay_on_while_plugged_in") is None

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.tmp.iterdir() if path.name != "harness-store")

    def half_pushed(self) -> list[str]:
        store = self.tmp / "harness-store"
        return [path.name for path in store.iterdir() if "." in path.name] if store.exists() else []

    def processes(self) -> set[str]:
        """Names of what runs on the device besides what asks."""
        out = self.adb.client.device(self.virtual.serial).shell2("cat /proc/[0-9]*/comm", v2=True).stdout
        return {name for name in out.split() if name not in IDLE}

    def assert_idle(self) -> None:
        until = time.monotonic() + 20
        while self.processes() and time.monotonic() < until:
            time.sleep(0.05)
        assert self.processes() == set()

    def assert_clean(self) -> None:
        assert self.folders() == []
        assert self.half_pushed() == []
        self.assert_idle()
        if self.restores:
            assert not self.virtual.fixed_performance
            assert self.virtual.setting("global", "stay_on_while_plugged_in") == self.stays_on


@pytest.fixture
def scene(tmp_path: Path, user_cache: Cache) -> Iterator[Scene]:
    with virtual_androids(1, cache=user_cache, progress=print) as (adb, devices):
        scene = Scene(adb, devices[0], tmp_path)
        try:
            yield scene
        finally:
            scene.close()
