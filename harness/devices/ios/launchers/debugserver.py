"""Launch on any iOS, on request: the app is a debugger's child.

No launch watchdog ends it, and it ends with a lost connection.
"""

from __future__ import annotations

import asyncio
import contextlib

from pymobiledevice3.exceptions import AppNotInstalledError, ProtocolError, PyMobileDevice3Exception
from pymobiledevice3.remote.remote_service_discovery import RemoteServiceDiscoveryService
from pymobiledevice3.service_connection import ServiceConnection

from harness.devices.ios.apps import installed
from harness.devices.ios.explained import TROUBLE
from harness.devices.ios.launchers.gdb import GdbConnection, Stop, arguments_packet, stop_of
from harness.devices.ios.launchers.started import SIGKILL, Ended, Started
from harness.devices.ios.link import Link

SERVICE = "com.apple.debugserver.DVTSecureSocketProxy"
TUNNELLED_SERVICE = "com.apple.internal.dt.remote.debugproxy"
KILL_SECONDS = 5.0
FATAL = frozenset({4, 5, 6, 7, 8, 9, 10, 11})
"""Signals (Darwin's numbers) after which a program does not continue: ILL, TRAP, ABRT, EMT, FPE, KILL, BUS, SEGV."""


class DebuggedApp(Started):
    """Run an app; its exit status or signal is reported."""

    def __init__(self) -> None:
        super().__init__()
        self.gdb: GdbConnection | None = None

    @property
    def _gdb(self) -> GdbConnection:
        assert self.gdb is not None, "launch() connects first"
        return self.gdb

    async def _follow(self) -> Ended:
        reply = await self._gdb.ask("c")
        while True:
            kind, rest = reply[:1], reply[1:]
            try:
                if kind == "O":
                    self._take(bytes.fromhex(rest))
                    reply = await self._gdb.receive()
                    continue
                if kind in ("W", "X"):
                    number = int(rest[:2], 16)
                    return Ended(number if kind == "W" else -number)
            except ValueError as error:
                raise ProtocolError(f"debugserver answered {reply[:60]!r}") from error
            if kind not in ("T", "S"):
                raise ProtocolError(f"debugserver answered {reply[:60]!r}")
            stop = stop_of(reply)
            if stop.exception or stop.signal in FATAL:
                await self._let_die(stop)
                return Ended(-stop.signal)
            reply = await self._gdb.ask(stop.onward)

    async def _let_die(self, stop: Stop) -> None:
        """Let the program continue from its crash, so that it ends by it and the system writes its report.

        After an exception it would only stop there again, as long as a debugger is attached.
        """
        with contextlib.suppress(*TROUBLE):
            await asyncio.wait_for(self._gdb.ask("D" if stop.exception else stop.onward), KILL_SECONDS)

    async def kill(self) -> None:
        """End the app by a packet; if that fails, it ends with the connection."""
        if self.ended is None:
            await self._gdb.interrupt()
            await self._gdb.send("k")
            if self._task is not None:
                await asyncio.wait({self._task}, timeout=KILL_SECONDS)
            if self.ended is None:
                self.ended = Ended(-SIGKILL)


async def launch(link: Link, bundle_id: str, arguments: list[str]) -> DebuggedApp:
    """Start the app; raises AppNotInstalledError, or PyMobileDevice3Exception with debugserver's message."""
    found = await installed(link, bundle_id)
    if found is None:
        raise AppNotInstalledError(f"no app {bundle_id} is installed")
    app = DebuggedApp()
    try:
        connection = await _connect(link)
        app._stack.push_async_callback(connection.close)
        app.gdb = GdbConnection(connection.reader, connection.writer)
        await app.gdb.without_acknowledgements()
        for packet in (arguments_packet([f"{found.path}/{found.executable}", *arguments]), "qLaunchSuccess"):
            reply = await app.gdb.ask(packet)
            if reply != "OK":
                raise PyMobileDevice3Exception(f"debugserver did not start the app: {_words(reply)}")
        app.pid = _pid(await app.gdb.ask("qProcessInfo"))
    except BaseException:
        await app.close()
        raise
    app._begin()
    return app


async def end(_link: Link, _pid: int) -> None:
    """Do nothing: a debugger's child ends with its connection."""


async def _connect(link: Link) -> ServiceConnection:
    provider = await link.developer()
    if isinstance(provider, RemoteServiceDiscoveryService):
        return await provider.start_lockdown_service_without_checkin(TUNNELLED_SERVICE)
    return await provider.start_lockdown_service(SERVICE)


def _words(reply: str) -> str:
    """Return the message of ``E`` and text, or of ``Enn;`` and text in hexadecimal digits."""
    _, semicolon, digits = reply.partition(";")
    if semicolon:
        with contextlib.suppress(ValueError):
            return bytes.fromhex(digits).decode(errors="replace")
    return reply.removeprefix("E")[:200] or "no words"


def _pid(reply: str) -> int | None:
    fields = dict(part.split(":", 1) for part in reply.split(";") if ":" in part)
    with contextlib.suppress(ValueError, KeyError):
        return int(fields["pid"], 16)
    return None
