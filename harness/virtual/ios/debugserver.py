"""Serve debugserver: launch and watch an app over gdb's remote protocol."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.processes import Exit, LaunchRefused, Running
from harness.virtual.ios.stream import Connection, Dropped

INTERRUPT = b"\x03"
EXCEPTIONS: dict[int, tuple[int, int]] = {
    signal.SIGSEGV: (0x91, 1),
    signal.SIGBUS: (0x91, 1),
    signal.SIGILL: (0x92, 2),
    signal.SIGFPE: (0x93, 3),
    signal.SIGTRAP: (signal.SIGTRAP, 6),
}
"""Maps a signal to the number that a debugger gets instead, and the kind of Mach exception; other signals are of kind
5."""
_SOFTWARE, _SOFT_SIGNAL = 5, 0x10003
_SIGSTOP = 17
"""Darwin's number of SIGSTOP."""
_ACCEPTED = (
    "QSetMaxPacketSize:", "QSetWorkingDir:", "QThreadSuffixSupported", "QListThreadsInStopReply", "QSetDisableASLR:",
    "QSetSTDIN:", "QSetSTDOUT:", "QSetSTDERR:", "QLaunchArch:", "QSetProcessEvent:", "QSetLogging:", "Hc", "Hg",
)  # fmt: skip


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one debugger until it goes; its launched app ends with it."""
    debugger = Debugger(phone, connection)
    try:
        await debugger.run()
    finally:
        await debugger.end()


class Debugger:
    """Serve one debugger and the one app that it may launch."""

    def __init__(self, phone: Phone, connection: Connection) -> None:
        self._phone = phone
        self._connection = connection
        self._acknowledges = True
        self._environment: dict[str, str] = {}
        self._refusal: str | None = "no process was launched"
        self._running: Running | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopped_by: int | None = None
        """The signal that stopped the app; the app ends by it once the debugger lets it continue."""

    async def run(self) -> None:
        while True:
            packet = await self._receive()
            if packet is None:
                continue
            if packet == "k":
                await self._kill()
                return
            if packet == "D":
                self._let_go()
                await self._send("OK")
                return
            answer = await self._answer(packet)
            if answer is not None:
                await self._send(answer)
                if answer.startswith("X"):
                    return
            if packet == "QStartNoAckMode":
                self._acknowledges = False

    async def _answer(self, packet: str) -> str | None:
        """Return the answer to a packet; None if it comes later."""
        if packet.startswith("A"):
            return await self._launch(packet)
        if packet in ("c", "vCont;c") or packet.startswith(("C", "vCont;C")):
            return await self._continue(packet)
        if packet == "qLaunchSuccess":
            return "OK" if self._refusal is None else f"E{self._refusal}"
        if packet.startswith(("QEnvironment:", "QEnvironmentHexEncoded:")):
            return self._set_environment(packet)
        if packet == "QStartNoAckMode" or packet.startswith(_ACCEPTED):
            return "OK"
        if packet.startswith("qSupported"):
            return "PacketSize=20000;QStartNoAckMode+"
        if packet == "vCont?":
            return "vCont;c;C"
        if packet in ("?", "qC") and self._running is not None:
            return _stop(_SIGSTOP) if packet == "?" else "QC1"
        if packet == "qProcessInfo" and self._running is not None:
            return f"pid:{self._running.pid:x};ostype:ios;vendor:apple;endian:little;ptrsize:8;"
        return ""

    def _set_environment(self, packet: str) -> str:
        kind, _, text = packet.partition(":")
        with contextlib.suppress(ValueError):
            if kind == "QEnvironmentHexEncoded":
                text = bytes.fromhex(text).decode()
            name, equals, value = text.partition("=")
            if equals:
                self._environment[name] = value
                return "OK"
        return "E01"

    async def _launch(self, packet: str) -> str:
        try:
            fields = packet[1:].split(",")
            words = [bytes.fromhex(fields[index]).decode() for index in range(2, len(fields), 3)]
            path, arguments = Path(words[0]), words[1:]
        except (ValueError, IndexError):
            return "E01"
        app = next((app for app in self._phone.apps.all() if path in (app.executable, app.bundle)), None)
        self._refusal = "NotFound"
        if app is not None:
            try:
                await self._phone.faults.at("debugserver.launch", self._connection)
                self._running = await self._phone.processes.launch(
                    app.bundle_id,
                    arguments,
                    self._environment,
                    sink=self._output,
                    connection=self._connection,
                    suspended=True,
                    debugged=True,
                )
                self._refusal = None
            except LaunchRefused as refused:
                self._refusal = refused.reason
            except Refused as refused:
                self._refusal = refused.error or "Locked"
        # The client asks by qLaunchSuccess whether it was launched.
        return "OK"

    async def _continue(self, packet: str) -> str | None:
        running = self._running
        if running is None:
            return "E01"
        if self._stopped_by is not None:
            if packet.startswith("C") and int(packet[1:3], 16) >= signal.NSIG:
                return "E52"  # this signal cannot be sent
            if self._stopped_by in EXCEPTIONS:
                return _stop(self._stopped_by)  # the failed instruction is tried again
            return f"X{self._stopped_by:02x}"
        try:
            await self._phone.processes.resume(running)
        except LaunchRefused:
            return f"X{signal.SIGKILL:02x}"
        if self._watch is None:
            self._watch = asyncio.create_task(self._report_end(running))
        return None

    async def _report_end(self, running: Running) -> None:
        await asyncio.wait([running.ended])
        with contextlib.suppress(Dropped):
            await self._send(self._end_of(running.ended.result()))
        if self._stopped_by is None:
            # debugserver ends with the app that it debugged.
            await self._connection.close()

    def _end_of(self, ended: Exit) -> str:
        if ended.signal is None:
            return f"W{(ended.code or 0) & 0xFF:02x}"
        if ended.signal == signal.SIGKILL:
            return f"X{ended.signal:02x}"
        # A debugger gets any other signal before the app ends by it.
        self._stopped_by = ended.signal
        return _stop(ended.signal)

    async def _output(self, chunk: bytes) -> None:
        await self._send("O" + chunk.hex())

    async def _kill(self) -> None:
        if self._running is not None:
            self._running.signal(signal.SIGKILL, "client")
            if self._watch is not None:
                await asyncio.wait([self._watch])
            else:
                await self._send(f"X{signal.SIGKILL:02x}")

    def _let_go(self) -> None:
        """Let the app continue without a debugger."""
        if self._running is not None:
            self._running.sink, self._running = None, None

    async def end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._running is not None:
            self._running.sink = None
            self._running.signal(signal.SIGKILL, "client")

    async def _receive(self) -> str | None:
        """Return the next packet; None if it is not a packet, or has a wrong checksum."""
        start = await self._connection.read(1)
        if start == INTERRUPT and self._running is not None:
            self._phone.processes.end(self._running, "suspend")
            await self._send(_stop(_SIGSTOP))
        if start != b"$":
            return None
        body = b""
        while (byte := await self._connection.read(1)) != b"#":
            body += byte
        fits = int(await self._connection.read(2), 16) == sum(body) & 0xFF
        if self._acknowledges:
            await self._connection.send(b"+" if fits else b"-")
        return body.decode(errors="replace") if fits else None

    async def _send(self, text: str) -> None:
        data = text.encode()
        await self._connection.send(b"$" + data + b"#" + f"{sum(data) & 0xFF:02x}".encode())


def _stop(number: int) -> str:
    """Return the packet that reports a signal to a debugger."""
    reported, kind = EXCEPTIONS.get(number, (number, _SOFTWARE))
    data = (_SOFT_SIGNAL, number) if kind == _SOFTWARE else (1, 0)
    return f"T{reported:02x}thread:1;metype:{kind:x};mecount:2;" + "".join(f"medata:{value:x};" for value in data)
