"""Several phones behind one adb server: each opened once, whatever becomes of the others."""

from __future__ import annotations

import pytest

from harness.cache import Cache
from harness.devices import NoDevice, Selection, Unavailable
from harness.devices.android import AndroidDevice, Server, attached_devices
from harness.devices.android.choice import choose
from harness.devices.android.openers import open_all
from harness.devices.virtual.android import virtual_androids

pytestmark = pytest.mark.emulator


def test_one_that_is_not_there_does_not_keep_the_other_away(user_cache: Cache) -> None:
    with virtual_androids(1, cache=user_cache, progress=print) as (adb, [virtual]):
        server = Server(adb.port, starts=False)
        chosen = choose(Selection("android", f"ABC,{virtual.serial}"), server, print, wait_seconds=0.3)
        lacking, device = open_all(server, chosen, print)
        assert isinstance(lacking, Unavailable)
        assert (lacking.name, type(lacking.error)) == ("ABC", NoDevice)
        assert isinstance(device, AndroidDevice)


def test_one_that_cannot_be_opened_does_not_keep_the_other_away(user_cache: Cache) -> None:
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, [old, new]):
        old.set_property("ro.product.cpu.abilist", "armeabi-v7a")
        lacking, device = open_all(Server(adb.port, starts=False), [old.serial, new.serial], print)
        assert isinstance(lacking, Unavailable)
        assert "armeabi-v7a" in str(lacking.error)
        assert isinstance(device, AndroidDevice)
        assert device.serial == new.serial


def test_a_phone_by_cable_and_over_the_air_is_one_phone(user_cache: Cache) -> None:
    said: list[str] = []
    with virtual_androids(2, cache=user_cache, progress=print) as (adb, machines):
        for machine in machines:
            machine.set_property("ro.serialno", "R58M123ABC")
        server, serials = Server(adb.port, starts=False), [machine.serial for machine in machines]
        (device,) = open_all(server, serials, said.append)
        assert said == [f"left out: {serials[1]} is the same phone as {serials[0]}"]
        assert isinstance(device, AndroidDevice)
        # Whoever opens it by its other name waits for the same lock.
        with device.reserve():
            assert [bool(attached.held_by) for attached in attached_devices(server)] == [True, True]
