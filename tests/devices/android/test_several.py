"""Several phones behind one adb server: each opened once, whatever becomes of the others."""

from __future__ import annotations

import pytest

from harness.conformance.fake_runners import make_order
from harness.conformance.faults import Ends, complete
from harness.core.cache import Cache
from harness.devices import NoDevice, Selection, Unavailable
from harness.devices.android import AndroidDevice, Server, attached_devices
from harness.devices.android.choice import choose
from harness.devices.android.factory import open_all
from harness.devices.android.listing import listed
from harness.devices.android.recovery import find_again
from harness.devices.base import AnyRecord
from harness.devices.job import wait_back
from harness.protocol.schema import Sample
from harness.virtual.android import virtual_androids
from tests.devices.android.conftest import Scene

pytestmark = pytest.mark.emulator


def test_one_that_is_not_there_does_not_keep_the_other_away(user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print) as (adb, [virtual]):
        server = Server(adb.port, starts=False)
        chosen = choose(Selection("android", f"ABC,{virtual.serial}"), [server], print, wait_seconds=0.3)
        lacking, device = open_all(chosen, print)
        assert isinstance(lacking, Unavailable)
        assert (lacking.name, type(lacking.error)) == ("ABC", NoDevice)
        assert isinstance(device, AndroidDevice)


def test_one_that_cannot_be_opened_does_not_keep_the_other_away(user_cache: Cache) -> None:
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, [old, new]):
        server = Server(adb.port, starts=False)
        old.set_property("ro.product.cpu.abilist", "armeabi-v7a")
        lacking, device = open_all(choose(Selection("android", f"{old.serial},{new.serial}"), [server], print), print)
        assert isinstance(lacking, Unavailable)
        assert "armeabi-v7a" in str(lacking.error)
        assert isinstance(device, AndroidDevice)
        assert device.serial == new.serial


def test_a_phone_by_cable_and_over_the_air_is_one_phone(user_cache: Cache) -> None:
    notices: list[str] = []
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, machines):
        for machine in machines:
            machine.set_property("ro.serialno", "R58M123ABC")
        server, serials = Server(adb.port, starts=False), [machine.serial for machine in machines]
        chosen = choose(Selection("android", ",".join(serials)), [server], notices.append)
        (device,) = open_all(chosen, notices.append)
        assert notices == [f"left out: {serials[1]} is the same phone as {serials[0]}"]
        assert isinstance(device, AndroidDevice)
        # Whoever opens it by its other name waits for the same lock.
        with device.reserve():
            assert [bool(attached.held_by) for attached in attached_devices(server)] == [True, True]


def test_one_phone_at_two_transports_is_opened_once(scene: Scene) -> None:
    scene.virtual.set_property("ro.serialno", "R58M123ABC")
    notices: list[str] = []
    scene.server.connect(f"localhost:{scene.virtual.port}")
    chosen = choose(Selection("android", "all"), [scene.server], notices.append)
    assert len(chosen) == 2
    (device,) = open_all(chosen, notices.append)
    assert isinstance(device, AndroidDevice)
    assert [line.partition(":")[0] for line in notices] == ["left out"]
    assert {seen.hardware for seen in attached_devices(scene.server)} == {"R58M123ABC"}


def test_boards_that_share_a_serial_are_two(user_cache: Cache) -> None:
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, machines):
        for number, machine in enumerate(machines):
            machine.set_property("ro.serialno", "0123456789ABCDEF")
            other = f'case $1 in */boot_id) echo start-{number} ;; *) exec toybox cat "$@" ;; esac'
            machine.set_command("cat", other)
        server, notices = Server(adb.port, starts=False), list[str]()
        devices = open_all(choose(Selection("android", "all"), [server], notices.append), notices.append)
        assert (len(devices), notices) == (2, [])


def test_a_server_that_was_restarted_gives_other_transports(scene: Scene) -> None:
    device = scene.open()
    assert scene.run(make_order(), device=device).complete
    scene.server.connect(f"localhost:{scene.virtual.port}")
    scene.adb.kill()
    scene.adb.start()
    scene.server.connect(f"localhost:{scene.virtual.port}")
    scene.adb.connect(scene.virtual.serial)
    assert "unavailable" not in device.conditions()
    assert scene.run(make_order(), device=device).complete
    scene.assert_clean()


@pytest.mark.fault(
    what="the cable is pulled mid-run, and the phone comes back over the network under another transport",
    ends=complete(resumed=1),
    keeps="all records of both processes",
)
def test_a_phone_that_comes_back_by_another_way_is_the_same(
    scene: Scene, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.virtual.set_property("ro.serialno", "R58M123ABC")
    device = scene.open()
    # The cable stays out: the phone is reached by its other address alone.
    monkeypatch.setattr("harness.devices.android.recovery.connect", lambda _server, _serial: None)
    pulled: list[AnyRecord] = []

    def pull(record: AnyRecord) -> None:
        if isinstance(record, Sample) and not pulled:
            pulled.append(record)
            scene.server.connect(f"localhost:{scene.virtual.port}")
            scene.server.disconnect(scene.virtual.serial)

    result = scene.run(make_order(), "pause=0.2; everything", device=device, then=pull)
    ends.check(result)
    assert [place.serial for place in listed(scene.server)] == [f"localhost:{scene.virtual.port}"]
    scene.adb.connect(scene.virtual.serial)
    scene.assert_clean()


def test_another_phone_is_not_taken_for_one_that_was_lost(user_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, machines):
        for number, machine in enumerate(machines):
            machine.set_property("ro.serialno", f"SERIAL{number}")
        server = Server(adb.port, starts=False)
        device = AndroidDevice(server, machines[0].serial)
        monkeypatch.setattr("harness.devices.android.recovery.connect", lambda _server, _serial: None)
        server.disconnect(machines[0].serial)
        error = wait_back(lambda: find_again(device._shell), 0.5, lambda: False)
        assert error is not None
        assert "is not attached" in str(error)
        server.connect(machines[0].serial)
        assert wait_back(lambda: find_again(device._shell), 5.0, lambda: False) is None
        device.close()
