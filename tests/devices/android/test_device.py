"""A good run on the virtual device, and what it reports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.conformance.fake_runners import ARCHIVE, make_order
from harness.core.cache import Cache
from harness.devices import RunnerUnusable, opened, parse_device
from harness.devices.android import AndroidDevice, Server, attached_devices
from harness.devices.base import AnyRecord, Knob
from harness.protocol.schema import Header
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import Scene
from tests.devices.android.runners import LAUNCHER, write_runner

pytestmark = pytest.mark.emulator


def knobs(result_knobs: tuple[Knob, ...]) -> dict[str, Knob]:
    return {knob.name: knob for knob in result_knobs}


def test_an_unchanged_runner_is_pushed_once(scene: Scene) -> None:
    order = make_order()
    device = scene.open()
    scene.run(order, device=device)
    (stored,) = (scene.tmp / "harness-store").iterdir()
    first = stored.stat()
    scene.run(order, device=device)
    assert scene.run(order).complete  # another session
    second = stored.stat()
    assert (first.st_ino, first.st_mtime_ns <= second.st_mtime_ns) == (second.st_ino, True)


def test_few_runners_are_kept(scene: Scene) -> None:
    device = scene.open()
    for number in range(6):
        assert scene.run(make_order(order_id=f"order-{number}"), device=device).complete
    assert len(list((scene.tmp / "harness-store").iterdir())) == 4


def test_what_a_device_is(scene: Scene) -> None:
    device = scene.open()
    facts = device.facts()
    assert {"kind", "name", "cpu_model", "cores", "arch", "governor", "memory_bytes", "os", "kernel"} <= set(facts)
    assert (facts["kind"], facts["emulated"], facts["android_version"]) == ("android", True, "14")
    assert device.target == "android-arm64"
    assert scene.virtual.serial in device.name
    assert "Virtual Android 1" in device.name
    conditions = device.conditions()
    assert (conditions["thermal_status"], conditions["battery_percent"]) == (0, 90)
    assert conditions["memory_free_bytes"] > 2**20


def test_the_knobs_are_set_for_the_run_and_back_afterwards(scene: Scene) -> None:
    scene.virtual.set_dumpsys("power", "Power Manager State:\n  mWakefulness=Asleep\n")
    inside: list[object] = []

    def look(_record: AnyRecord) -> None:
        inside.append((scene.virtual.fixed_performance, scene.virtual.setting("global", "stay_on_while_plugged_in")))

    result = scene.run(make_order(), then=look)
    assert set(inside) == {(True, "7")}
    assert (scene.virtual.fixed_performance, scene.virtual.setting("global", "stay_on_while_plugged_in")) == (
        False,
        None,
    )
    found = knobs(result.knobs)
    assert [knob.state for knob in found.values()] == ["applied"] * 4
    assert found["pinned"].detail == "cores 1, verified"
    assert [found[name].restored for name in ("fixed_performance", "stay_awake", "screen")] == [True] * 3
    assert "mWakefulness=Asleep" in (scene.virtual.folder / "framework/dumpsys/power").read_text()


def test_clocks_are_looked_at_during_the_run(scene: Scene) -> None:
    result = scene.run(make_order(("one",)), "header; load; pause=0.3; passes; probe; end")
    assert result.observed["clock_looks"] >= 3
    assert result.observed["clock_khz"]["1"] == {"min": 1425000, "median": 1425000, "max": 1425000}
    assert result.observed["thermal_status_highest"] == 0


def test_the_time_at_each_clock_is_that_of_the_run(scene: Scene) -> None:
    states = scene.virtual.folder / "sys/devices/system/cpu/cpu1/cpufreq/stats/time_in_state"
    states.parent.chmod(0o755)
    states.unlink(missing_ok=True)
    states.write_text("1425000 100\n2850000 7\n")

    def tick(record: AnyRecord) -> None:
        # Once, and early: the device must not find the file half-written at the end.
        if isinstance(record, Header):
            states.write_text("1425000 100\n2850000 307\n")

    result = scene.run(make_order(), "header; load; pause=0.2; passes; memory; probe; end", then=tick)
    assert result.complete, result.reason
    (spent,) = [value for policy, value in result.observed["time_in_state_ms"].items() if "cpu1" in policy]
    assert spent == {"2850000": 3000}


def test_two_devices_at_once(tmp_path: Path, user_cache: Cache) -> None:
    order = make_order()
    runner = write_runner(tmp_path, order, "header; load; pause=0.2; passes; memory; probe; end")
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, virtuals):
        server = Server(adb.port, starts=False)
        devices = [
            AndroidDevice(server, virtual.serial, launcher=LAUNCHER, lock_folder=tmp_path / "locks", emulated=True)
            for virtual in virtuals
        ]
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda device: device.run(runner, order), devices))
        assert [result.complete for result in results] == [True, True]
        # Another process holds one of them: the other is free all the same.
        with devices[0].reserve(), devices[1].reserve(wait_seconds=0):
            pass


def test_the_status_of_timeout_is_not_taken_for_the_runners(scene: Scene) -> None:
    # toybox 0.8.8 and 0.8.9 sometimes exit with another status than the command's: landley/toybox#389.
    scene.virtual.set_command("timeout", 'shift 3; "$@"; exit 127')
    device = scene.open()
    assert device.describe(write_runner(scene.folder, make_order())).archive_sha256 == ARCHIVE
    scene.virtual.set_command("timeout", 'shift 3; "$@"; exit 0')
    broken = scene.folder / "broken"
    broken.write_text("echo no weights >&2; exit 7\n")
    with pytest.raises(RunnerUnusable, match=r"exited with status 7; its stderr ends: no weights"):
        device.describe(broken)
    scene.assert_clean()


def test_a_runner_that_was_pushed_for_nothing_is_removed(scene: Scene) -> None:
    device = scene.open()
    runner = write_runner(scene.folder, make_order())
    assert device.deploy(runner).startswith("/data/local/tmp/harness-store/")
    assert scene.half_pushed() != []
    device.close()
    assert scene.half_pushed() == []


def test_virtual_devices_are_opened_by_their_name(user_cache: Cache) -> None:
    with opened(parse_device("virtual-android:2"), cache=user_cache, notify=print) as found:
        devices = [device for device in found if isinstance(device, AndroidDevice)]
        assert [device.kind for device in devices] == ["virtual-android"] * 2
        assert len({device.name for device in devices}) == 2
        assert all(device.emulated for device in devices)


def test_attached_devices_are_listed_with_who_holds_them(scene: Scene) -> None:
    device = scene.open()
    with device.reserve():
        (held,) = attached_devices(scene.server, lock_folder=scene.folder / "locks")
    assert held.usable
    assert held.held_by is not None
    assert held.held_by.startswith("process ")
    (free,) = attached_devices(scene.server, lock_folder=scene.folder / "locks")
    assert (free.state, free.model, free.android_version, free.held_by) == (
        "device",
        "harness Virtual Android 1",
        "14",
        None,
    )
