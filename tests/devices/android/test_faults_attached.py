"""Faults before anything is deployed: no device, too many, the wrong state, a server that is none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, raises
from harness.core.cache import Cache
from harness.devices import Selection, Unavailable, opened, parse_device
from harness.devices.android import AdbMismatch, AdbUnavailable, Server, adb_checks, attached_devices
from harness.devices.android.choice import Chosen, choose
from harness.devices.errors import (
    AmbiguousDevice,
    DeviceBusy,
    DeviceLost,
    DeviceNotReady,
    DeviceUnauthorized,
    NoDevice,
)
from harness.virtual.android import virtual_androids
from harness.virtual.android.device import free_port
from tests.devices.android.conftest import Scene
from tests.devices.android.fake_adb import FakeAdb, fake_adb

pytestmark = pytest.mark.emulator


@pytest.fixture(autouse=True)
def no_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)


def names(chosen: list[Chosen | Unavailable]) -> list[str]:
    return [one[1].serial for one in chosen if not isinstance(one, Unavailable)]


def chosen(server: FakeAdb, spec: str = "android", serial: str | None = None) -> list[str]:
    found = choose(parse_device(spec, serial=serial), [Server(server.port, starts=False)], print, wait_seconds=0.3)
    return names(found)


@pytest.mark.fault(what="no device is attached", ends=raises(NoDevice, "no Android device is attached"), keeps="–")
def test_no_device(ends: Ends, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_adb() as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        with ends.raised(), opened(parse_device("android"), cache=cache, notify=print):
            pass


@pytest.mark.fault(what="two devices and no serial", ends=raises(AmbiguousDevice, "2 devices are attached"), keeps="–")
def test_two_devices(ends: Ends, user_cache: Cache) -> None:
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, devices):
        server = Server(adb.port, starts=False)
        with ends.raised() as info:
            choose(Selection("android"), [server], print)
        serials = [device.serial for device in devices]
        assert all(serial in str(info.value) for serial in serials)
        assert set(names(choose(Selection("android", "all"), [server], print))) == set(serials)
        assert names(choose(Selection("android", ",".join(serials)), [server], print)) == serials
        assert names(choose(Selection("android", serial=serials[1]), [server], print)) == [serials[1]]


@pytest.mark.fault(
    what="the named device is not attached", ends=raises(NoDevice, "no device ABC is attached"), keeps="–"
)
def test_a_device_that_is_not_there(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_adb("XYZ device model:Pixel_7") as server:
        with ends.raised():
            chosen(server, "android:ABC")
        monkeypatch.setenv("ANDROID_SERIAL", "XYZ")
        assert chosen(server) == ["XYZ"]


@pytest.mark.fault(
    what="the phone has not allowed debugging by this computer",
    ends=raises(DeviceUnauthorized, "does not allow debugging"),
    keeps="–",
)
def test_an_unauthorized_device(ends: Ends) -> None:
    with fake_adb("XYZ unauthorized usb:1-1 transport_id:1") as server:
        with ends.raised():
            chosen(server)
        (seen,) = attached_devices(Server(server.port, starts=False))
        assert (seen.state, seen.usable) == ("unauthorized", False)
        checks = {check.name: check for check in adb_checks(Server(server.port, starts=False))}
        assert not checks["Android XYZ"].ok
        assert "unlock" in checks["Android XYZ"].cure


@pytest.mark.fault(
    what="this user may not open USB devices", ends=raises(DeviceUnauthorized, "may not reach device"), keeps="–"
)
def test_no_permissions(ends: Ends) -> None:
    with (
        fake_adb("XYZ no permissions (missing udev rules?); see [http://developer.android.com/x]") as server,
        ends.raised() as info,
    ):
        chosen(server)
    assert "udev" in info.value.cure or "apt install" in info.value.cure


@pytest.mark.fault(what="the device is offline", ends=raises(DeviceLost, "is offline"), keeps="–")
def test_an_offline_device(ends: Ends) -> None:
    with fake_adb("XYZ offline transport_id:2") as server, ends.raised():
        chosen(server)


def test_devices_that_cannot_be_used_do_not_stop_the_others() -> None:
    notices: list[str] = []
    with fake_adb("A offline", "B device model:Pixel_7", "C unauthorized") as server:
        selection, adb = Selection("android", "all"), Server(server.port, starts=False)
        assert names(choose(selection, [adb], notices.append, wait_seconds=0.3)) == ["B"]
    assert [line.split(":")[0] for line in notices] == ["waiting up to 0 s for A (offline)", "left out", "left out"]


@pytest.mark.fault(
    what="an adb server of another version on the port", ends=raises(AdbMismatch, "version 1.0.31"), keeps="–"
)
def test_another_server(ends: Ends) -> None:
    with fake_adb(version=31) as fake:
        server = Server(fake.port, starts=False)
        with ends.raised() as info:
            server.ensure()
        assert "kill-server" in info.value.cure
        (check,) = [check for check in adb_checks(server) if check.name == "adb server"]
        assert not check.ok
        assert "1.0.31" in check.found


@pytest.mark.fault(what="something else listens on adb's port", ends=raises(AdbMismatch, "is no adb server"), keeps="–")
def test_no_server_at_all(ends: Ends) -> None:
    with fake_adb(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n") as server, ends.raised():
        Server(server.port, starts=False).ensure()


@pytest.mark.fault(
    what="no adb server runs and none can be started", ends=raises(AdbUnavailable, "could not be started"), keeps="–"
)
def test_no_adb(ends: Ends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "adb"
    broken.write_text("#!/bin/sh\necho 'cannot bind' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(broken))
    with ends.raised() as info:
        Server(free_port()).ensure()
    assert "cannot bind" in str(info.value)


@pytest.mark.fault(
    what="another computer measures on the device",
    ends=raises(DeviceBusy, "in use by another computer, desk"),
    keeps="–",
)
def test_another_computers_run(scene: Scene, ends: Ends) -> None:
    shell = scene.adb.client.device(scene.virtual.serial)
    theirs = "/data/local/tmp/harness-desk.0123abcd-77"
    started = f"mkdir {theirs}; cd {theirs}; nohup sleep 600 >/dev/null 2>&1 & echo $!"
    pid = shell.shell2(started, v2=True).stdout.strip()
    with ends.raised():
        scene.run(make_order())
    # A folder in which nothing runs any more is no run; a young one is left alone, though.
    shell.shell2(f"kill -9 {pid}", v2=True)
    assert scene.run(make_order()).complete
    assert scene.folders() == ["harness-desk.0123abcd-77"]
    shell.shell2(f"touch -d @{int(time.time()) - 3 * 86400} {theirs}", v2=True)
    assert scene.run(make_order()).complete
    scene.assert_clean()


@pytest.mark.fault(
    what="the device throttles before the run", ends=raises(DeviceNotReady, "thermal status is moderate (2)"), keeps="–"
)
def test_a_throttled_device(scene: Scene, ends: Ends) -> None:
    scene.virtual.set_thermal_status(2)
    device = scene.open()
    with ends.raised():
        device.settle(wait_seconds=0.2)
    notices: list[str] = []

    def hear(line: str) -> None:
        notices.append(line)
        scene.virtual.set_thermal_status(0)

    device.settle(wait_seconds=20, notify=hear)
    assert [line.startswith("waiting") for line in notices] == [True, False]
