"""Serve AMFI's service, which shows the switch of Developer Mode in the settings."""

from __future__ import annotations

from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection's requests until it ends. Only an owner without a passcode lets a client switch it on."""
    while True:
        request = await connection.read_plist()
        match request.get("action"):
            case 0:
                phone.event("reveal developer mode")
                await connection.send_plist({"success": True})
            case 1:
                await connection.send_plist({"Error": "Device has a passcode set"})
            case _:
                await connection.send_plist({"Error": "An unknown error has occured"})
