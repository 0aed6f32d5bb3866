"""From what ``--device`` says to the devices it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from harness.cache import Cache
from harness.devices.base import Device, Notify
from harness.devices.errors import UnknownDevice
from harness.devices.host import HostDevice


@dataclass(frozen=True)
class Selection:
    """``--device KIND[:WHICH]`` with what else chooses among devices.

    ``which`` is what stands behind the colon; ``serial`` is ``--serial``.
    """

    kind: str
    which: str | None = None
    serial: str | None = None


Opener = Callable[[Selection, Cache, Notify], AbstractContextManager[list[Device]]]


@contextmanager
def _host(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
    if selection.which is not None:
        raise UnknownDevice("there is only one host", cure="write --device host")
    yield [HostDevice()]


@contextmanager
def _android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    from harness.devices.android.openers import android

    with android(selection, cache, notify) as devices:
        yield devices


@contextmanager
def _virtual_android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    from harness.devices.android.openers import virtual_android

    with virtual_android(selection, cache, notify) as devices:
        yield devices


OPENERS: dict[str, Opener] = {"android": _android, "host": _host, "virtual-android": _virtual_android}
"""By the kind's name. An opener imports its backend when it is called: most runs need one of them."""


def parse_device(spec: str, *, serial: str | None = None) -> Selection:
    """``host``, ``android``, ``android:SERIAL``, ``android:all`` …; raises UnknownDevice naming the known kinds."""
    kind, colon, which = spec.partition(":")
    if kind not in OPENERS or (colon and not which):
        known = ", ".join(sorted(OPENERS))
        raise UnknownDevice(f"unknown device {spec!r}", cure=f"known kinds of device: {known}")
    return Selection(kind, which or None, serial)


@contextmanager
def opened(selection: Selection, *, cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """The selected devices, at least one, for as long as the context lasts; then they are let go of.

    Raises UnknownDevice, NoDevice, AmbiguousDevice, DeviceUnauthorized, or what starting a virtual device raises.
    """
    with ExitStack() as stack:
        devices = stack.enter_context(OPENERS[selection.kind](selection, cache, notify))
        for device in devices:
            stack.callback(device.close)
        yield devices
