"""From ``--device ios`` and ``--device virtual-ios`` to devices."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from harness.cache import Cache
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.ios.choice import choose
from harness.devices.ios.device import IosDevice
from harness.devices.ios.loop import LoopThread, loop_thread
from harness.devices.ios.options import LAUNCHERS, TUNNELD, IosOptions, Way
from harness.devices.selection import Selection
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.devices.virtual.ios import VirtualIphone

FACES: tuple[Literal["16", "17"], ...] = ("16", "17")
COMPANION = "llvm"
"""What runs in place of the app on a virtual phone: the same model compiled for this machine."""


@contextmanager
def ios(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """``ios``, ``ios:UDID``, ``ios:A,B``, ``ios:all``."""
    way, options = Way(), options_of(selection)
    with loop_thread() as loop:
        yield open_all(loop, choose(selection, loop, way, notify), way, options, notify)


@contextmanager
def virtual_ios(selection: Selection, _cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """``virtual-ios``, ``virtual-ios:16``, ``virtual-ios:17``: phones of these faces, gone afterwards; both if none is
    named."""
    from harness.devices.virtual.ios import VirtualIphone, virtual_iphones

    faces = [face for face in FACES if selection.which in (None, face)]
    if not faces:
        raise UnknownDevice(
            f"virtual-ios:{selection.which} is no virtual iPhone",
            cure="write virtual-ios, virtual-ios:16 or virtual-ios:17",
        )
    with ExitStack() as stack:
        records = Path(stack.enter_context(TemporaryDirectory(prefix="harness-ios-pairings-")))
        phones = stack.enter_context(
            virtual_iphones(*(VirtualIphone(face, name=f"Virtual iPhone {face}") for face in faces))
        )
        loop = stack.enter_context(loop_thread())
        yield [
            IosDevice(
                loop,
                phone.udid,
                way_to(phone, records),
                emulated=True,
                companion=COMPANION,
                kind="virtual-ios",
                options=replace(options_of(selection), sign_command=signed_for(phone)),
                notify=notify,
            )
            for phone in phones
        ]


def way_to(phone: VirtualIphone, records: Path) -> Way:
    """How a virtual phone is reached; its pairing records lie in a folder of their own."""
    return Way(phone.usbmux_address, ("tunneld",), phone.tunneld or TUNNELD, records)


def signed_for(phone: VirtualIphone) -> str:
    """A sign command with which a virtual phone accepts an app."""
    return shlex.join([sys.executable, "-m", "harness.devices.virtual.ios.sign", "--udid", phone.udid])


def options_of(selection: Selection) -> IosOptions:
    """Raises UsageError for a launcher that there is not."""
    if selection.launcher is not None and selection.launcher not in LAUNCHERS:
        raise UsageError(f"unknown launcher {selection.launcher!r}", cure=f"choose one of {', '.join(LAUNCHERS)}")
    launcher = next((name for name in LAUNCHERS if name == selection.launcher), None)
    return IosOptions(launcher=launcher, sign_command=selection.sign_command, keep_app=selection.keep_app)


def open_all(
    loop: LoopThread, chosen: Sequence[str | Unavailable], way: Way, options: IosOptions, notify: Notify
) -> list[Device | Unavailable]:
    """A device for each UDID; one that cannot be opened does not stop the others."""
    devices: list[Device | Unavailable] = []
    for udid in chosen:
        if isinstance(udid, Unavailable):
            devices.append(udid)
            continue
        try:
            devices.append(IosDevice(loop, udid, way, options=options, notify=notify))
        except UsageError:
            raise
        except HarnessError as error:
            devices.append(Unavailable(udid, error))
    return devices
