"""From what ``--device`` says to the devices it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from harness.core.cache import Cache
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.kinds import Selection, known_kind


def parse_device(
    spec: str,
    *,
    serial: str | None = None,
    sign_command: str | None = None,
    launcher: str | None = None,
    keep_app: bool = False,
) -> Selection:
    """``host``, ``android``, ``android:SERIAL``, ``ios:all`` …; raises UnknownDevice naming the known kinds."""
    name, colon, which = spec.partition(":")
    kind = known_kind(name)
    if colon and not which:
        raise UnknownDevice(f"nothing stands behind the colon of {spec!r}", cure=f"write --device {name}")
    return Selection(kind.name, which or None, serial, sign_command, launcher, keep_app)


@contextmanager
def opened(selection: Selection, *, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    """The selected devices, at least one of them usable, for as long as the context lasts; then they are let go of.

    Where none is, the first one's error is raised: UnknownDevice, NoDevice, AmbiguousDevice, DeviceUnauthorized, or
    what starting a virtual device raises.
    """
    with ExitStack() as stack:
        devices = stack.enter_context(known_kind(selection.kind).open(selection, cache, notify))
        for device in devices:
            if not isinstance(device, Unavailable):
                stack.callback(device.close)
        lacking = [device for device in devices if isinstance(device, Unavailable)]
        if len(lacking) == len(devices):
            raise lacking[0].error
        yield devices
