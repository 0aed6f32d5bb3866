"""Serve openstdiosocket: a socket for a launched app's output, which the launcher names by an identifier."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.processes import Running
from harness.virtual.ios.stream import Connection, Dropped


class Stdio:
    """Hold one such socket. The app's output goes through a terminal, which adds carriage returns to line ends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.done = asyncio.Event()

    async def write(self, chunk: bytes) -> None:
        await self.connection.send(chunk.replace(b"\n", b"\r\n"))

    def follow(self, running: Running) -> None:
        """Close the socket with the app."""
        running.ended.add_done_callback(lambda _ended: self.done.set())


class Sockets:
    """Hold the open sockets of the phones, by identifier."""

    def __init__(self) -> None:
        self._open: dict[uuid.UUID, Stdio] = {}

    def find(self, identifier: object) -> Stdio | None:
        return self._open.get(identifier) if isinstance(identifier, uuid.UUID) else None

    async def serve(self, phone: Phone, connection: Connection) -> None:
        """Give the socket its identifier, and keep it open until the app or the client ends."""
        try:
            await phone.faults.at("stdio.open", connection)
        except Refused as refused:
            raise Dropped from refused
        identifier, stdio = uuid.uuid4(), Stdio(connection)
        self._open[identifier] = stdio
        tasks = [asyncio.create_task(stdio.done.wait()), asyncio.create_task(_swallow(connection))]
        try:
            await connection.send(identifier.bytes)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._open[identifier]
            for task in tasks:
                task.cancel()
        await connection.close()


async def _swallow(connection: Connection) -> None:
    # Apps here read nothing; reading only notices that the client goes.
    with contextlib.suppress(Dropped):
        while await connection.read_some():
            pass
