"""Define virtual Android devices as a kind: ``--device virtual-android``, ``virtual-android:N``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.cache import Cache
from harness.devices.android.mode import MODE
from harness.devices.base import Device, Notify
from harness.devices.errors import UnknownDevice
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection

NAME = "virtual-android"


@contextmanager
def _open(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """Open the selected number of virtual devices; they are removed afterwards."""
    from harness.devices.android.device import AndroidDevice
    from harness.devices.android.options import AndroidOptions
    from harness.devices.android.server import Server
    from harness.virtual.android import virtual_androids

    count = selection.which or "1"
    if not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= 16:
        raise UnknownDevice(f"{NAME}:{count} is no number of devices", cure=f"write {NAME}:2")
    with virtual_androids(int(count), cache=cache, progress=notify) as (adb, machines):
        server = Server(adb.port, starts=False)
        yield [
            AndroidDevice(
                server,
                machine.serial,
                launcher=machine.launcher,
                emulated=True,
                kind=NAME,
                options=AndroidOptions(mode=MODE.of(selection.options)),
                notify=notify,
                cache=cache,
            )
            for machine in machines
        ]


def _list_attached(_options: Options) -> list[ListedDevice]:
    return [ListedDevice(NAME, "emulated", model="real adbd, arm64 code under qemu", emulated=True)]


VIRTUAL_ANDROID = DeviceKind(NAME, _open, _list_attached, forms=f"{NAME} or {NAME}:N", options=(MODE,))
