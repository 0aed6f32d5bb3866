"""Which of the attached iPhones are meant."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from pymobiledevice3 import usbmux

from harness.core.errors import HarnessError, UsageError
from harness.devices.base import Notify, Unavailable
from harness.devices.errors import AmbiguousDevice, NoDevice
from harness.devices.ios.explained import TROUBLE, explained
from harness.devices.ios.loop import LoopThread
from harness.devices.ios.options import Way
from harness.devices.kinds import Selection

ALL = "all"
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.25
ASK_SECONDS = 10.0


@dataclass(frozen=True)
class Listed:
    """A phone as usbmuxd knows it; ``connection`` is USB or Network, USB where both."""

    udid: str
    connection: str


def listed(loop: LoopThread, way: Way) -> list[Listed]:
    """Every phone that usbmuxd knows, each once. Raises UsbmuxUnavailable, DeviceLost or CommandTimeout."""
    return loop.call(_listed(way), deadline=ASK_SECONDS, what="asking usbmuxd")


def choose(
    selection: Selection, loop: LoopThread, way: Way, notify: Notify, *, wait_seconds: float = WAIT_SECONDS
) -> list[str | Unavailable]:
    """The UDIDs that are meant: ``UDID``, ``A,B``, ``all``, ``--udid``, or the only one.

    A phone that is named is waited for; one of several that does not come is given as unavailable. Raises NoDevice,
    AmbiguousDevice, UsbmuxUnavailable, or UsageError for two contradicting choices.
    """
    if selection.which and selection.serial and selection.which != selection.serial:
        raise UsageError(f"--device names {selection.which}, --udid {selection.serial}", cure="name it once")
    wanted = selection.which or selection.serial
    if wanted is None or wanted == ALL:
        found = listed(loop, way)
        if not found:
            raise NoDevice("no iPhone is attached", cure="attach one and unlock it, or see `harness devices`")
        if wanted is None and len(found) > 1:
            names = ", ".join(one.udid for one in found)
            raise AmbiguousDevice(
                f"{len(found)} iPhones are attached: {names}",
                cure="choose with --udid UDID, --device ios:A,B or --device ios:all",
            )
        return [one.udid for one in found]
    udids = list(dict.fromkeys(part.strip() for part in wanted.split(",") if part.strip()))
    if len(udids) == 1:
        return [_await(loop, way, udids[0], notify, wait_seconds)]
    return [_one_of_several(loop, way, udid, notify, wait_seconds) for udid in udids]


def _one_of_several(loop: LoopThread, way: Way, udid: str, notify: Notify, seconds: float) -> str | Unavailable:
    try:
        return _await(loop, way, udid, notify, seconds)
    except HarnessError as error:
        return Unavailable(udid, error)


def _await(loop: LoopThread, way: Way, udid: str, notify: Notify, seconds: float) -> str:
    """The UDID as usbmuxd writes it: people leave out its dash."""
    until = time.monotonic() + seconds
    told = False
    while True:
        found = listed(loop, way)
        for one in found:
            if one.udid.replace("-", "") == udid.replace("-", ""):
                return one.udid
        if time.monotonic() >= until:
            known = ", ".join(one.udid for one in found) or "none"
            raise NoDevice(f"no iPhone {udid} is attached (attached: {known})")
        if not told:
            notify(f"waiting up to {seconds:.0f} s for the iPhone {udid}")
            told = True
        time.sleep(POLL_SECONDS)


async def _listed(way: Way) -> list[Listed]:
    try:
        devices = await usbmux.list_devices(usbmux_address=way.usbmux_address)
    except asyncio.CancelledError:
        raise
    except TROUBLE as error:
        raise explained(error, "listing the phones", "usbmuxd") from error
    found: dict[str, Listed] = {}
    for device in sorted(devices, key=lambda device: not device.is_usb):
        found.setdefault(device.serial, Listed(device.serial, device.connection_type))
    return list(found.values())
