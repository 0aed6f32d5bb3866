"""Define this machine as a kind: ``--device host``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.core.cache import Cache
from harness.devices.base import Device, Notify
from harness.devices.errors import UnknownDevice
from harness.devices.host import HostDevice
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection


@contextmanager
def _open(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
    if selection.which is not None:
        raise UnknownDevice("there is only one host", cure="write --device host")
    yield [HostDevice()]


def _list_attached(_options: Options) -> list[ListedDevice]:
    return [ListedDevice("host", "ready", model="this machine")]


HOST = DeviceKind("host", _open, _list_attached)
