"""Turn the value of ``--device`` into devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.kinds import Selection, device_kinds, known_kind


def parse_device(spec: str, *, serial: str | None = None, **given: Any) -> Selection:
    """Return the selection for ``host``, ``android:SERIAL``, ``ios:all`` …, with the values of options by their keys.

    Raises UnknownDevice naming the known kinds, or UsageError for a value or a serial that the kind does not take.
    """
    if unknown := given.keys() - {option.key for one in device_kinds().values() for option in one.options}:
        raise TypeError(f"no kind of device has an option {', '.join(sorted(unknown))}")
    name, colon, which = spec.partition(":")
    kind = known_kind(name)
    if colon and not which:
        raise UnknownDevice(f"nothing follows the colon of {spec!r}", cure=f"write --device {name}")
    if serial is not None and kind.serial is None:
        raise UsageError(f"--serial is for phones, not for {kind.name}", cure="leave it out")
    # Options of other kinds do not concern this kind.
    return Selection(kind.name, which or None, serial, kind.chosen(given))


@contextmanager
def opened(selection: Selection, *, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    """Open the selected devices, at least one of them usable, for as long as the context lasts; then close them.

    If none is usable, the first one's error is raised: UnknownDevice, NoDevice, AmbiguousDevice, DeviceUnauthorized, or
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
