"""The folder of a phone's media, where clients lay what they want installed."""

from __future__ import annotations

from harness.devices.virtual.ios import afc
from harness.devices.virtual.ios.files import Room
from harness.devices.virtual.ios.phone import Phone
from harness.devices.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    await afc.serve(phone, connection, Room(phone.media))
