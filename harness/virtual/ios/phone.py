"""Run one virtual iPhone: its files, its apps, its connections, and its ordered faults."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal

from harness.virtual.ios.apps import Apps
from harness.virtual.ios.crashes import Crashes
from harness.virtual.ios.faults import Fault, Faults
from harness.virtual.ios.pairing import Pairings
from harness.virtual.ios.processes import Processes
from harness.virtual.ios.state import Identity, State
from harness.virtual.ios.stream import Connection, Dropped

Way = Literal["usb", "tunnel"]
Handler = Callable[["Phone", Connection], Awaitable[None]]
FIRST_PORT = 49152


class Phone:
    """Hold a phone with its files below ``folder``. It is plugged in from the start."""

    def __init__(self, folder: Path, identity: Identity, state: State) -> None:
        self.folder = folder
        self.identity = identity
        self.state = state
        self.events: list[str] = []
        """The actions that clients caused, in order."""
        self.plugged = True
        self.tunnel = identity.tunnelled
        """True while a tunnel leads to it; only a phone with iOS 17 or newer ever has one."""
        self.discovery_port: int | None = None
        self.service_ports: tuple[int, ...] = ()
        """The loopback ports to which its tunnel leads."""
        self.on_plug: Callable[[Phone], None] = lambda _phone: None
        self.assertions: list[str] = []
        """The power assertions that clients hold, by name."""
        self.media = folder / "media"
        self.media.mkdir(parents=True)
        self.pairings = Pairings(folder / "lockdown")
        self.crashes = Crashes(folder / "crashes", identity)
        self.faults = Faults(self._happen)
        self.apps = Apps(folder / "apps", identity, has_room=self.has_room, end_app=self._end_app, event=self.event)
        self.processes = Processes(
            state, self.faults, find_app=self.apps.get, write_crash=self.crashes.write, event=self.event
        )
        self._connections: dict[asyncio.Task[object], tuple[Connection, Way]] = {}
        self._ports: dict[int, tuple[Handler, str | None]] = {}
        self._next_port = itertools.count(FIRST_PORT)

    def event(self, text: str) -> None:
        self.events.append(text)

    def _end_app(self, bundle_id: str) -> None:
        self.processes.end_app(bundle_id)

    def used_bytes(self) -> int:
        """Return the bytes of its files, as far as clients and apps wrote them."""
        roots = (self.media, self.apps.folder, self.crashes.folder)
        return sum(path.lstat().st_size for root in roots for path in root.rglob("*") if not path.is_dir())

    def has_room(self, size: int) -> bool:
        return size <= self.free_bytes()

    def free_bytes(self) -> int:
        if self.state.space_bytes is None:
            return shutil.disk_usage(self.folder).free
        return max(0, self.state.space_bytes - self.used_bytes())

    def open_port(self, handler: Handler, host: str | None) -> int:
        """Open a port that serves one connection; ``host`` names the pairing for its TLS, None for no TLS."""
        port = next(self._next_port)
        self._ports[port] = (handler, host)
        return port

    def take_port(self, port: int) -> tuple[Handler, str | None] | None:
        return self._ports.pop(port, None)

    @contextlib.contextmanager
    def attend(self, connection: Connection, way: Way) -> Iterator[None]:
        """Let the current task serve this connection, which ends with the cable or the tunnel."""
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (connection, way)
        try:
            yield
        except Dropped:
            pass
        finally:
            self._connections.pop(task, None)

    def unplug(self) -> None:
        """Pull the cable: every connection ends abruptly. Apps continue."""
        was, self.plugged, self.tunnel = self.plugged, False, False
        self._end_connections(("usb", "tunnel"))
        if was:
            self.on_plug(self)

    def plug(self) -> None:
        """Put the cable in again; the tunnel comes back with it."""
        was, self.plugged = self.plugged, True
        self.raise_tunnel()
        if not was:
            self.on_plug(self)

    def drop_tunnel(self) -> None:
        """End the tunnel and its connections; the cable stays."""
        self.tunnel = False
        self._end_connections(("tunnel",))

    def raise_tunnel(self) -> None:
        self.tunnel = self.plugged and self.identity.tunnelled

    def _end_connections(self, ways: tuple[Way, ...]) -> None:
        self.faults.release()
        current = asyncio.current_task()
        for task, (connection, way) in list(self._connections.items()):
            if way in ways:
                connection.abort()
                if task is not current:
                    task.cancel()

    async def _happen(self, fault: Fault) -> None:
        if fault.action == "unplug":
            self.unplug()
        elif fault.action == "lock":
            self.state.locked = True
        else:
            self.processes.end_all(fault.action, int(fault.details.get("signal", 11)))

    async def stop(self) -> None:
        """End its apps and connections."""
        self.unplug()
        await self.processes.stop()
