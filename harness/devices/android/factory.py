"""Open the devices of ``--device android``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices.android.address import ADB_SERVER, Address, server_addresses
from harness.devices.android.choice import Chosen, choose
from harness.devices.android.device import AndroidDevice
from harness.devices.android.mode import MODE
from harness.devices.android.options import AndroidOptions
from harness.devices.android.server import Server
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.choosing import open_each
from harness.devices.kinds import Selection


@contextmanager
def android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """Open ``android``, ``android:SERIAL``, ``android:A,B`` or ``android:all``. Starts an adb server if none runs."""
    servers = usable_servers(server_addresses(ADB_SERVER.of(selection.options)), notify)
    options = AndroidOptions(mode=MODE.of(selection.options))
    yield open_all(choose(selection, servers, notify), notify, options, cache)


def usable_servers(addresses: Sequence[Address], notify: Notify) -> list[Server]:
    """Return the servers at these addresses that answer or can be started; raises what Server.ensure does if none."""
    usable: list[Server] = []
    errors: list[HarnessError] = []
    for address in addresses:
        server = Server(address=address)
        try:
            server.ensure()
        except HarnessError as error:
            errors.append(error)
        else:
            usable.append(server)
    if not usable:
        raise errors[0]
    for trouble in errors:
        notify(f"left out: {trouble.args[0]}")
    return usable


def open_all(
    chosen: Sequence[Chosen | Unavailable],
    notify: Notify,
    options: AndroidOptions | None = None,
    cache: Cache | None = None,
) -> list[Device | Unavailable]:
    """Open a device for each transport; one that cannot be opened does not stop the others.

    A phone that is attached twice, by cable and over Wi-Fi or at two servers, is opened once.
    """
    devices: list[Device | Unavailable] = []
    phones: list[AndroidDevice] = []

    def open_one(one: Chosen) -> AndroidDevice:
        return AndroidDevice(*one, notify=notify, options=options, cache=cache)

    opened = open_each(chosen, open_one, lambda one: one[1].label)
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
