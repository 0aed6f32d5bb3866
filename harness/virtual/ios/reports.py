"""Serve crash reports to clients: a mover that reports when they are there, and their folder over the file conduit."""

from __future__ import annotations

from harness.virtual.ios import afc
from harness.virtual.ios.faults import Refused
from harness.virtual.ios.files import Room
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection, Dropped


async def move(phone: Phone, connection: Connection) -> None:
    """Report that all crash reports are in the folder for copying; they were written there from the start."""
    try:
        await phone.faults.at("crash.move", connection)
    except Refused as refused:
        raise Dropped from refused
    await connection.send(b"ping\0")
    await connection.close()


async def copy(phone: Phone, connection: Connection) -> None:
    """Serve the folder of the reports."""
    try:
        await phone.faults.at("crash.pull", connection)
    except Refused as refused:
        raise Dropped from refused
    await afc.serve(phone, connection, Room(phone.crashes.folder))
