"""Define iPhones as a kind, for ``--device ios``, ``harness devices`` and ``harness doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.core.cache import Cache
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.ios.options import (
    BUNDLE_ID,
    CERTIFICATE,
    KEEP_APP,
    LAUNCHER,
    PASSWORD_FILE,
    PROFILE,
    SIGN_COMMAND,
)
from harness.devices.kinds import Check, DeviceKind, ListedDevice, Options, Selection
from harness.devices.options import SerialName


@contextmanager
def _open(selection: Selection, cache: Cache, notify: Notify) -> Iterator[Sequence[Device | Unavailable]]:
    from harness.devices.ios.support import require_support

    require_support()
    from harness.devices.ios.factory import ios

    with ios(selection, cache, notify) as devices:
        yield devices


def _list_attached(_options: Options) -> list[ListedDevice]:
    """Return the attached phones; none without the package or usbmuxd, as on a machine that never saw an iPhone."""
    from harness.devices.ios import attached_iphones, has_support
    from harness.devices.ios.errors import UsbmuxUnavailable

    if not has_support():
        return []
    try:
        phones = attached_iphones()
    except UsbmuxUnavailable:
        return []
    return [
        ListedDevice(
            device=f"ios:{found.serial}",
            serial=found.serial,
            state=found.state,
            model=found.model,
            system=f"iOS {found.ios_version} ({found.connection})" if found.ios_version else None,
            held_by=found.held_by,
            reason=found.reason,
            cure=found.cure,
        )
        for found in phones
    ]


def _checks(_options: Options) -> list[Check]:
    from harness.devices.ios import ios_checks

    return ios_checks()


IOS = DeviceKind(
    "ios",
    _open,
    _list_attached,
    _checks,
    attaches=True,
    forms="ios, ios:UDID, ios:A,B or ios:all",
    serial=SerialName("the iPhone of that UDID", "--udid"),
    options=(SIGN_COMMAND, CERTIFICATE, PASSWORD_FILE, PROFILE, BUNDLE_ID, LAUNCHER, KEEP_APP),
)
