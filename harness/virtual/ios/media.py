"""Serve the folder of a phone's media, where clients put packages to be installed."""

from __future__ import annotations

from harness.virtual.ios import afc
from harness.virtual.ios.files import Room
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    await afc.serve(phone, connection, Room(phone.media))
