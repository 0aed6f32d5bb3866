"""Define Android devices as a kind, for ``--device android``, ``harness devices`` and ``harness doctor``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.core.cache import Cache
from harness.core.errors import HarnessError
from harness.devices.android.address import ADB_SERVER
from harness.devices.android.mode import MODE
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.kinds import Check, DeviceKind, ListedDevice, Options, Selection
from harness.devices.options import SerialName

if TYPE_CHECKING:
    from harness.devices.android.attached import Attached
    from harness.devices.android.server import Server


@contextmanager
def _open(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    from harness.devices.android.factory import android

    with android(selection, cache, notify) as devices:
        yield devices


def _list_attached(options: Options) -> list[ListedDevice]:
    from harness.devices.android.attached import attached_devices

    return [
        ListedDevice(
            device=f"android:{found.serial}",
            serial=found.serial,
            state=found.state,
            model=found.model,
            system=_system(found),
            held_by=found.held_by,
            reason=found.reason,
            cure=found.cure,
        )
        for found in attached_devices(*_servers(options))
    ]


def _system(found: Attached) -> str | None:
    """Return the release and the way to the phone, as in ``Android 15 (API 35), USB 480 Mb/s of 5000``."""
    parts = [f"Android {found.android_version} (API {found.sdk})"] if found.android_version else []
    if found.connection:
        way = {"usb": "USB"}.get(found.connection, found.connection)
        speed = f" {found.speed} Mb/s" if found.speed is not None else ""
        if found.speed is not None and found.most_speed is not None and found.most_speed > found.speed:
            speed += f" of {found.most_speed}"
        parts.append(way + speed)
    return ", ".join(parts) or None


def _servers(options: Options) -> list[Server]:
    from harness.devices.android.address import server_addresses
    from harness.devices.android.server import Server

    return [Server(address=address) for address in server_addresses(ADB_SERVER.of(options))]


def _checks(options: Options) -> list[Check]:
    """Check with a server, as ``harness devices`` does: without one no phone is ever seen, however it is plugged in."""
    from harness.devices.android.checks import adb_checks

    servers = _servers(options)
    for server in servers:
        with contextlib.suppress(HarnessError):  # the check of the server reports it
            server.ensure()
    return adb_checks(*servers)


ANDROID = DeviceKind(
    "android",
    _open,
    _list_attached,
    _checks,
    attaches=True,
    forms="android, android:SERIAL, android:A,B or android:all",
    serial=SerialName("the Android device of that serial (or ANDROID_SERIAL)"),
    options=(ADB_SERVER, MODE),
)
