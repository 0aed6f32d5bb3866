"""Establish trust between this computer and an iPhone."""

from __future__ import annotations

import asyncio
import plistlib

from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import FatalPairingError, PairingDialogResponsePendingError
from pymobiledevice3.lockdown import LockdownClient, UsbmuxLockdownClient, create_using_usbmux

from harness.devices.base import Notify
from harness.devices.ios.options import Way


async def unpaired(udid: str, way: Way) -> UsbmuxLockdownClient:
    """Return a client of the phone's lockdownd, paired if this computer has a record that the phone accepts."""
    return await create_using_usbmux(
        serial=udid, autopair=False, usbmux_address=way.usbmux_address, pairing_records_cache_folder=way.records
    )


async def paired(udid: str, way: Way, *, phone: str, trust_seconds: float, notify: Notify) -> UsbmuxLockdownClient:
    """Return a paired client; while the phone asks its owner, ``notify`` reports it.

    Raises UserDeniedPairingError, PairingDialogResponsePendingError or PasswordRequiredError, which are the library's.
    """
    client = await unpaired(udid, way)
    if client.paired:
        return client
    try:
        # pymobiledevice3 stores the record with the system's usbmuxd, even if another one is used.
        client.save_pair_record = lambda: _save(client, way)  # type: ignore[method-assign]
        try:
            await client.pair(timeout=0)
        except PairingDialogResponsePendingError:
            notify(f"unlock {phone} and tap Trust on its screen; waiting up to {trust_seconds:.0f} s")
            await asyncio.wait_for(client.pair(timeout=trust_seconds), trust_seconds + 10)
            notify(f"{phone} trusts this computer")
        if not await client.validate_pairing():
            raise FatalPairingError()
    except BaseException:
        await client.close()
        raise
    return client


async def _save(client: UsbmuxLockdownClient, way: Way) -> None:
    await LockdownClient.save_pair_record(client)
    device = client.service.mux_device
    async with await usbmux.create_mux(usbmux_address=way.usbmux_address) as mux:
        if isinstance(mux, usbmux.PlistMuxConnection) and device is not None and client.identifier is not None:
            await mux.save_pair_record(client.identifier, device.devid, plistlib.dumps(client.pair_record or {}))
