"""From what ``--device`` says to the devices it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from harness.cache import Cache
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.host import HostDevice
from harness.errors import UsageError


@dataclass(frozen=True)
class Selection:
    """``--device KIND[:WHICH]`` with what else chooses among devices.

    ``which`` is what stands behind the colon; ``serial`` is ``--serial`` or ``--udid``. The rest is for iPhones:
    ``--ios-sign-command``, ``--ios-launcher``, ``--ios-keep-app``.
    """

    kind: str
    which: str | None = None
    serial: str | None = None
    sign_command: str | None = None
    launcher: str | None = None
    keep_app: bool = False


Opener = Callable[[Selection, Cache, Notify], AbstractContextManager[Sequence[Device | Unavailable]]]


@contextmanager
def _host(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
    if selection.which is not None:
        raise UnknownDevice("there is only one host", cure="write --device host")
    refuse_serial(selection)
    yield [HostDevice()]


@contextmanager
def _android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    from harness.devices.android.openers import android

    with android(selection, cache, notify) as devices:
        yield devices


@contextmanager
def _virtual_android(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    refuse_serial(selection)
    from harness.devices.android.openers import virtual_android

    with virtual_android(selection, cache, notify) as devices:
        yield devices


@contextmanager
def _ios(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    from harness.devices.ios.support import require_support

    require_support()
    from harness.devices.ios.openers import ios

    with ios(selection, cache, notify) as devices:
        yield devices


@contextmanager
def _virtual_ios(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    refuse_serial(selection)
    from harness.devices.ios.support import require_support

    require_support()
    from harness.devices.ios.openers import virtual_ios

    with virtual_ios(selection, cache, notify) as devices:
        yield devices


OPENERS: dict[str, Opener] = {
    "android": _android,
    "host": _host,
    "ios": _ios,
    "virtual-android": _virtual_android,
    "virtual-ios": _virtual_ios,
}
"""By the kind's name. An opener imports its backend when it is called: most runs need one of them."""


def parse_device(
    spec: str,
    *,
    serial: str | None = None,
    sign_command: str | None = None,
    launcher: str | None = None,
    keep_app: bool = False,
) -> Selection:
    """``host``, ``android``, ``android:SERIAL``, ``ios:all`` …; raises UnknownDevice naming the known kinds."""
    kind, colon, which = spec.partition(":")
    if kind in OPENERS and colon and not which:
        raise UnknownDevice(f"nothing stands behind the colon of {spec!r}", cure=f"write --device {kind}")
    if kind not in OPENERS:
        known = ", ".join(sorted(OPENERS))
        raise UnknownDevice(f"unknown device {spec!r}", cure=f"known kinds of device: {known}")
    return Selection(kind, which or None, serial, sign_command, launcher, keep_app)


def refuse_serial(selection: Selection) -> None:
    """For kinds whose devices have no serial; raises UsageError."""
    if selection.serial is not None:
        raise UsageError(f"--serial is for phones, not for {selection.kind}", cure="leave it out")


@contextmanager
def opened(selection: Selection, *, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    """The selected devices, at least one of them usable, for as long as the context lasts; then they are let go of.

    Where none is, the first one's error is raised: UnknownDevice, NoDevice, AmbiguousDevice, DeviceUnauthorized, or
    what starting a virtual device raises.
    """
    with ExitStack() as stack:
        devices = stack.enter_context(OPENERS[selection.kind](selection, cache, notify))
        for device in devices:
            if not isinstance(device, Unavailable):
                stack.callback(device.close)
        lacking = [device for device in devices if isinstance(device, Unavailable)]
        if len(lacking) == len(devices):
            raise lacking[0].error
        yield devices
