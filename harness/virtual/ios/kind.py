"""Define virtual iPhones as a kind: ``--device virtual-ios``, ``virtual-ios:16`` and so on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from harness.core.cache import Cache
from harness.devices.base import Device, Notify
from harness.devices.errors import UnknownDevice
from harness.devices.ios.options import BUNDLE_ID, KEEP_APP, LAUNCHER
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection

if TYPE_CHECKING:
    from harness.devices.ios.options import Way
    from harness.native.ios import SigningCommand
    from harness.virtual.ios import VirtualIphone

NAME = "virtual-ios"
IOS_VERSIONS: tuple[Literal["16", "17", "26"], ...] = ("16", "17", "26")
USUAL: tuple[Literal["16", "26"], ...] = ("16", "26")
"""The versions of ``--device virtual-ios``: every way to start an app, in the time of two phones. iOS 26 takes the
same way as 17."""
FORMS = f"{NAME}, {', '.join(f'{NAME}:{version}' for version in IOS_VERSIONS[:-1])} or {NAME}:{IOS_VERSIONS[-1]}"
COMPANION = "llvm"
"""The target of the archive that runs instead of the app on a virtual phone: the same model for this machine."""


@contextmanager
def _open(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[list[Device]]:
    """Open a phone of the selected version of iOS, or of each of the usual ones; they are removed afterwards."""
    from harness.devices.ios.support import require_support

    require_support()
    from harness.devices.ios.device import IosDevice
    from harness.devices.ios.factory import options_of
    from harness.devices.ios.loop import loop_thread
    from harness.virtual.ios import VirtualIphone, virtual_iphones

    which = selection.which
    versions = USUAL if which is None else [version for version in IOS_VERSIONS if version == which]
    if not versions:
        raise UnknownDevice(f"{NAME}:{which} is no virtual iPhone", cure=f"write {FORMS}")
    with ExitStack() as stack:
        records = Path(stack.enter_context(TemporaryDirectory(prefix="harness-ios-pairings-")))
        phones = stack.enter_context(
            virtual_iphones(*(VirtualIphone(version, name=f"Virtual iPhone {version}") for version in versions))
        )
        loop = stack.enter_context(loop_thread())
        yield [
            IosDevice(
                loop,
                phone.udid,
                way_to(phone, records),
                emulated=True,
                companion=COMPANION,
                kind=NAME,
                options=replace(options_of(selection), signing=signed_for(phone)),
                notify=notify,
            )
            for phone in phones
        ]


def way_to(phone: VirtualIphone, records: Path) -> Way:
    """Return how a virtual phone is reached; its pairing records are in a folder of their own."""
    from harness.devices.ios.options import TUNNELD, Way

    return Way(phone.usbmux_address, ("tunneld",), phone.tunneld or TUNNELD, records)


def signed_for(phone: VirtualIphone) -> SigningCommand:
    """Return how an app is signed for a virtual phone."""
    from harness.native.ios import SigningCommand

    return SigningCommand(shlex.join([sys.executable, "-m", "harness.virtual.ios.sign", "--udid", phone.udid]))


def _list_attached(_options: Options) -> list[ListedDevice]:
    return [ListedDevice(NAME, "emulated", model="an iPhone's protocols, this machine's code", emulated=True)]


VIRTUAL_IOS = DeviceKind(
    NAME,
    _open,
    _list_attached,
    forms=FORMS,
    options=(BUNDLE_ID, LAUNCHER, KEEP_APP),
)
