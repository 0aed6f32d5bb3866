"""From ``--device android`` and ``--device virtual-android`` to devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.cache import Cache
from harness.devices.android.choice import choose
from harness.devices.android.device import AndroidDevice
from harness.devices.android.server import Server
from harness.devices.base import Device, Notify
from harness.devices.errors import UnknownDevice
from harness.devices.selection import Selection


@contextmanager
def android(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """``android``, ``android:SERIAL``, ``android:A,B``, ``android:all``. Starts an adb server if none runs."""
    server = Server()
    server.ensure()
    yield [AndroidDevice(server, serial, notify=notify) for serial in choose(selection, server, notify)]


@contextmanager
def virtual_android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """``virtual-android``, ``virtual-android:N``: as many virtual devices, gone afterwards."""
    from harness.devices.virtual.android import virtual_androids

    count = selection.which or "1"
    if not count.isdigit() or not 1 <= int(count) <= 16:
        raise UnknownDevice(f"virtual-android:{count} is no number of devices", cure="write virtual-android:2")
    with virtual_androids(int(count), cache=cache, progress=notify) as (adb, machines):
        server = Server(adb.port, starts=False)
        yield [
            AndroidDevice(
                server,
                machine.serial,
                launcher=machine.launcher,
                emulated=True,
                kind="virtual-android",
                notify=notify,
            )
            for machine in machines
        ]
