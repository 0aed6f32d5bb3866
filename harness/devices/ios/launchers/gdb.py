"""Implement the part of the GDB remote protocol that starts one program.

See https://sourceware.org/gdb/current/onlinedocs/gdb.html/Remote-Protocol.html, and for Apple's server
lldb/tools/debugserver in https://github.com/llvm/llvm-project.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pymobiledevice3.exceptions import ConnectionTerminatedError, ProtocolError

MAX_PACKET_BYTES = 2**20
INTERRUPT = b"\x03"
EXCEPTIONS = {0x91: 11, 0x92: 4, 0x93: 8, 0x94: 7, 0x95: 5, 0x96: 5}
"""Maps debugserver's numbers for Mach exceptions (bad access, bad instruction, arithmetic, emulation, software,
breakpoint) to the signals (Darwin's numbers) that they become without a debugger."""
_SOFTWARE = 5
"""The Mach exception by which a signal arrives; any other one is the processor's."""


@dataclass(frozen=True)
class Stop:
    """Describe why a program stopped.

    ``signal`` has Darwin's number, ``thread`` is the server's name, empty if not reported. An ``exception`` happens
    again whenever the program continues, and no signal can replace it.
    """

    signal: int
    exception: bool
    thread: str

    @property
    def onward(self) -> str:
        """Return the packet with which the program continues, by its signal if it has one.

        ``C`` would not do: debugserver would send the signal again, and stop again for that one.
        """
        if not self.signal:
            return "c"
        return f"vCont;C{self.signal:02x}:{self.thread};c" if self.thread else f"C{self.signal:02x}"


class GdbConnection:
    """Exchange packets over a stream: ``$payload#checksum``, each acknowledged until both sides agree to stop that."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._acknowledges = True

    async def ask(self, payload: str) -> str:
        """Send a packet and return the next one that is not the program's output."""
        await self.send(payload)
        return await self.receive()

    async def without_acknowledgements(self) -> None:
        """Agree to send no acknowledgements, once, on a stream that loses nothing."""
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
        """Return the next packet; raises ConnectionTerminatedError or ProtocolError."""
        try:
            while (byte := await self._reader.readexactly(1)) != b"$":
                if byte not in b"+-":
                    raise ProtocolError(f"debugserver sent {byte!r} between packets")
            data = (await self._reader.readuntil(b"#"))[:-1]
            checksum = int(await self._reader.readexactly(2), 16)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            raise ConnectionTerminatedError() from error
        except ValueError as error:
            raise ProtocolError("debugserver sent a packet without a checksum") from error
        if len(data) > MAX_PACKET_BYTES or sum(data) % 256 != checksum:
            raise ProtocolError("debugserver sent a damaged packet")
        if self._acknowledges:
            self._writer.write(b"+")
            await self._writer.drain()
        return _expanded(data)


def arguments_packet(arguments: list[str]) -> str:
    """Return the packet ``A``: length of the hexadecimal text, index and text of each argument, the program first."""
    parts = []
    for index, argument in enumerate(arguments):
        text = argument.encode().hex()
        parts.append(f"{len(text)},{index},{text}")
    return "A" + ",".join(parts)


def stop_of(reply: str) -> Stop:
    """Parse a packet ``Tnn…`` or ``Snn``; raises ProtocolError."""
    fields = dict(part.split(":", 1) for part in reply[3:].split(";") if ":" in part)
    try:
        number, kind = int(reply[1:3], 16), int(fields.get("metype", f"{_SOFTWARE:x}"), 16)
    except ValueError as error:
        raise ProtocolError(f"debugserver reported a stop {reply[:60]!r}") from error
    exception = number in EXCEPTIONS or kind != _SOFTWARE
    return Stop(EXCEPTIONS.get(number, number), exception, fields.get("thread", ""))


def _expanded(data: bytes) -> str:
    """Return the data with escapes and run lengths undone."""
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
