"""Choose which of the attached iPhones are used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pymobiledevice3 import usbmux

from harness.devices.base import Notify, Unavailable
from harness.devices.choosing import ALL, WAIT_SECONDS, awaited, named, wanted
from harness.devices.errors import AmbiguousDevice, NoDevice
from harness.devices.ios.explained import TROUBLE, explained
from harness.devices.ios.loop import LoopThread
from harness.devices.ios.options import Way
from harness.devices.kinds import Selection

ASK_SECONDS = 10.0


@dataclass(frozen=True)
class Listed:
    """Describe a phone of usbmuxd; ``connection`` is USB or Network, and USB if both."""

    udid: str
    connection: str


def listed(loop: LoopThread, way: Way) -> list[Listed]:
    """Return every phone of usbmuxd, each once. Raises UsbmuxUnavailable, DeviceLost or CommandTimeout."""
    return loop.call(_listed(way), deadline=ASK_SECONDS, what="asking usbmuxd")


def choose(
    selection: Selection, loop: LoopThread, way: Way, notify: Notify, *, wait_seconds: float = WAIT_SECONDS
) -> list[str | Unavailable]:
    """Return the selected UDIDs: ``UDID``, ``A,B``, ``all``, ``--udid``, or the only one.

    The function waits for a named phone; if one of several does not come, it is returned as unavailable. Raises
    NoDevice, AmbiguousDevice, UsbmuxUnavailable, or UsageError for two contradicting choices.
    """
    names = wanted(selection, "--udid")
    if names is None or names == ALL:
        found = listed(loop, way)
        if not found:
            raise NoDevice("no iPhone is attached", cure="attach one and unlock it, or see `harness devices`")
        if names is None and len(found) > 1:
            attached = ", ".join(one.udid for one in found)
            raise AmbiguousDevice(
                f"{len(found)} iPhones are attached: {attached}",
                cure="choose with --udid UDID, --device ios:A,B or --device ios:all",
            )
        return [one.udid for one in found]
    return named(names, lambda udid: _await(loop, way, udid, notify, wait_seconds))


def _await(loop: LoopThread, way: Way, udid: str, notify: Notify, seconds: float) -> str:
    """Return the UDID as usbmuxd writes it, because people leave out its dash."""

    def look() -> str | None:
        plain = udid.replace("-", "")
        return next((one.udid for one in listed(loop, way) if one.udid.replace("-", "") == plain), None)

    found = awaited(look, seconds, notify, lambda: f"the iPhone {udid}")
    if found is None:
        known = ", ".join(one.udid for one in listed(loop, way)) or "none"
        raise NoDevice(f"no iPhone {udid} is attached (attached: {known})")
    return found


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
