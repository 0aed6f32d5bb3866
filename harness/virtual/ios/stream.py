"""Handle one connection to a service of a virtual iPhone: exact reads, property lists, TLS from the middle on."""

from __future__ import annotations

import asyncio
import contextlib
import plistlib
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any
from xml.parsers.expat import ExpatError

MAXIMUM_PLIST_BYTES = 64 << 20
TLS_DEADLINE_SECONDS = 10.0


def mapping(value: object) -> dict[str, Any]:
    """Return a value that should be a dictionary; an empty one if it is none."""
    return value if isinstance(value, dict) else {}


class Dropped(Exception):
    """The connection has ended, or ends here."""


class Connection:
    """Hold both directions of a connection. Every method raises Dropped once the other side has gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.truncate_next = False
        """Set by a fault: half of the next message is sent, and nothing after it."""

    async def read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        try:
            return await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Dropped from error

    async def read_some(self, limit: int = 65536) -> bytes:
        """Return what has arrived; empty at the end."""
        try:
            return await self.reader.read(limit)
        except OSError as error:
            raise Dropped from error

    async def send(self, data: bytes) -> None:
        truncated, self.truncate_next = self.truncate_next, False
        if truncated:
            data = data[: max(1, len(data) // 2)]
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (OSError, RuntimeError) as error:
            raise Dropped from error
        if truncated:
            await self.close()
            raise Dropped

    async def read_plist(self) -> dict[str, Any]:
        """Return a property list that follows its length (big-endian, 32 bits).

        Lockdownd and most services send it in this form.
        """
        (size,) = struct.unpack(">I", await self.read(4))
        if size > MAXIMUM_PLIST_BYTES:
            raise Dropped
        try:
            value = plistlib.loads(await self.read(size))
        except (plistlib.InvalidFileException, ExpatError, ValueError) as error:
            raise Dropped from error
        if not isinstance(value, dict):
            raise Dropped
        return value

    async def send_plist(self, value: Any) -> None:
        data = plistlib.dumps(value)
        await self.send(struct.pack(">I", len(data)) + data)

    def hold(self) -> None:
        """Read nothing more until ``start_tls``, so that a handshake's first bytes are not taken for the service's."""
        transport = self.writer.transport
        if isinstance(transport, asyncio.ReadTransport):
            transport.pause_reading()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Serve a TLS handshake; call ``hold`` before the message after which the other side begins it."""
        try:
            await asyncio.wait_for(self._start_tls(context), TLS_DEADLINE_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:
            raise Dropped from error

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        # Python 3.10's streams have no method for it.
        if hasattr(self.writer, "start_tls"):
            await self.writer.start_tls(context)
            return
        loop = asyncio.get_running_loop()
        protocol = self.writer.transport.get_protocol()
        transport = await loop.start_tls(self.writer.transport, protocol, context, server_side=True)
        if transport is None:
            raise Dropped
        self.writer = asyncio.StreamWriter(transport, protocol, self.reader, loop)

    async def close(self) -> None:
        """End the connection in order, so that everything sent arrives."""
        with contextlib.suppress(OSError, RuntimeError, asyncio.TimeoutError):
            self.writer.close()
            await asyncio.wait_for(self.writer.wait_closed(), TLS_DEADLINE_SECONDS)

    def close_soon(self) -> None:
        """End the connection in order, without waiting for the end."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.close()

    def abort(self) -> None:
        """End the connection as a pulled cable does."""
        # In some versions of Python a TLS transport that was closed has no protocol any more: None._abort.
        with contextlib.suppress(OSError, RuntimeError, AttributeError):
            self.writer.transport.abort()


class Listener:
    """Listen on a loopback port; each connection has a task of its own, which nobody waits for."""

    def __init__(self, serve: Callable[[Connection], Awaitable[None]]) -> None:
        self._handler = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Connection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._handler(connection)
        except Dropped:
            pass
        finally:
            # This also happens when the task is cancelled, which is how a cable is pulled.
            connection.close_soon()
