"""As much of the GDB remote protocol as starting one program takes.

https://sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html
"""

from __future__ import annotations

import asyncio

from pymobiledevice3.exceptions import ConnectionTerminatedError, ProtocolError

MAX_PACKET_BYTES = 2**20
INTERRUPT = b"\x03"


class GdbConnection:
    """Packets over a stream: ``$payload#checksum``, each acknowledged until both sides agree to do without."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._acknowledges = True

    async def ask(self, payload: str) -> str:
        """Send a packet and return the next one that is not the program's output."""
        await self.send(payload)
        return await self.receive()

    async def without_acknowledgements(self) -> None:
        """Once on a stream that loses nothing."""
        if await self.ask("QStartNoAckMode") == "OK":
            self._acknowledges = False

    async def send(self, payload: str) -> None:
        data = payload.encode("ascii")
        self._writer.write(b"$%s#%02x" % (data, sum(data) % 256))
        await self._writer.drain()

    async def interrupt(self) -> None:
        """Stop the running program; its answer is a stop packet."""
        self._writer.write(INTERRUPT)
        await self._writer.drain()

    async def receive(self) -> str:
        """The next packet; raises ConnectionTerminatedError or ProtocolError."""
        try:
            while (byte := await self._reader.readexactly(1)) != b"$":
                if byte not in b"+-":
                    raise ProtocolError(f"debugserver sent {byte!r} between packets")
            data = (await self._reader.readuntil(b"#"))[:-1]
            told = int(await self._reader.readexactly(2), 16)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            raise ConnectionTerminatedError() from error
        except ValueError as error:
            raise ProtocolError("debugserver sent a packet without a checksum") from error
        if len(data) > MAX_PACKET_BYTES or sum(data) % 256 != told:
            raise ProtocolError("debugserver sent a damaged packet")
        if self._acknowledges:
            self._writer.write(b"+")
            await self._writer.drain()
        return _expanded(data)


def arguments_packet(arguments: list[str]) -> str:
    """``A``: length of the hexadecimal text, index and text of each argument, the program first."""
    parts = []
    for index, argument in enumerate(arguments):
        text = argument.encode().hex()
        parts.append(f"{len(text)},{index},{text}")
    return "A" + ",".join(parts)


def _expanded(data: bytes) -> str:
    """Escapes and run lengths undone."""
    out = bytearray()
    at = 0
    while at < len(data):
        byte = data[at]
        if byte == ord("}") and at + 1 < len(data):
            out.append(data[at + 1] ^ 0x20)
            at += 2
        elif byte == ord("*") and out and at + 1 < len(data):
            out += out[-1:] * (data[at + 1] - 29)
            at += 2
        else:
            out.append(byte)
            at += 1
    return out.decode("latin-1")
