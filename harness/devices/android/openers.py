"""From ``--device android`` and ``--device virtual-android`` to devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.cache import Cache
from harness.devices.android.choice import choose
from harness.devices.android.device import AndroidDevice
from harness.devices.android.server import Server
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.selection import Selection
from harness.errors import HarnessError


@contextmanager
def android(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """``android``, ``android:SERIAL``, ``android:A,B``, ``android:all``. Starts an adb server if none runs."""
    server = Server()
    server.ensure()
    yield open_all(server, choose(selection, server, notify), notify)


def open_all(server: Server, chosen: Sequence[str | Unavailable], notify: Notify) -> list[Device | Unavailable]:
    """A device for each serial; one that cannot be opened does not stop the others. A phone that is attached twice,
    by cable and over Wi-Fi, is opened once."""
    devices: list[Device | Unavailable] = []
    phones: dict[str, str] = {}
    for serial in chosen:
        if isinstance(serial, Unavailable):
            devices.append(serial)
            continue
        try:
            device = AndroidDevice(server, serial, notify=notify)
        except HarnessError as error:
            devices.append(Unavailable(serial, error))
            continue
        if device.hardware in phones:
            notify(f"left out: {serial} is the same phone as {phones[device.hardware]}")
            device.close()
            continue
        phones[device.hardware] = serial
        devices.append(device)
    return devices


@contextmanager
def virtual_android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """``virtual-android``, ``virtual-android:N``: as many virtual devices, gone afterwards."""
    from harness.devices.virtual.android import virtual_androids

    count = selection.which or "1"
    if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= 16:
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
