"""Open the devices of ``--device android``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.cache import Cache
from harness.devices.android.choice import choose
from harness.devices.android.device import AndroidDevice
from harness.devices.android.listing import Listed
from harness.devices.android.mode import MODE
from harness.devices.android.options import AndroidOptions
from harness.devices.android.server import Server
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.choosing import open_each
from harness.devices.kinds import Selection


@contextmanager
def android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """Open ``android``, ``android:SERIAL``, ``android:A,B`` or ``android:all``. Starts an adb server if none runs."""
    server = Server()
    server.ensure()
    options = AndroidOptions(mode=MODE.of(selection.options))
    yield open_all(server, choose(selection, server, notify), notify, options, cache)


def open_all(
    server: Server,
    chosen: Sequence[Listed | Unavailable],
    notify: Notify,
    options: AndroidOptions | None = None,
    cache: Cache | None = None,
) -> list[Device | Unavailable]:
    """Open a device for each transport; one that cannot be opened does not stop the others.

    A phone that is attached twice, by cable and over Wi-Fi, is opened once.
    """
    devices: list[Device | Unavailable] = []
    phones: list[AndroidDevice] = []

    def open_one(place: Listed) -> AndroidDevice:
        return AndroidDevice(server, place, notify=notify, options=options, cache=cache)

    opened = open_each(chosen, open_one, lambda place: place.label)
    for device in opened:
        if isinstance(device, Unavailable):
            devices.append(device)
            continue
        same = next((other for other in phones if device.is_same_phone(other)), None)
        if same is not None:
            notify(f"left out: {device.serial} is the same phone as {same.serial}")
            device.close()
            continue
        phones.append(device)
        devices.append(device)
    return devices
