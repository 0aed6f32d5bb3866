"""Run the apps: each app's companion is a program of this machine, with the app's container as its home."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.virtual.ios.app import App
from harness.virtual.ios.faults import Faults, Refused
from harness.virtual.ios.state import State
from harness.virtual.ios.stream import Connection, Dropped

Sink = Callable[[bytes], Awaitable[None]]
FIRST_PID = 412
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class LaunchRefused(Exception):
    """The phone does not start an app; ``reason`` is one of NotFound, Locked, Security, DeveloperMode, Broken."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Exit:
    """Describe how a process ended: one of the two is None."""

    code: int | None
    signal: int | None


@dataclass(eq=False)
class Running:
    """Hold a launched app; ``resume`` starts its companion."""

    pid: int
    app: App
    arguments: list[str]
    environment: dict[str, str]
    sink: Sink | None
    connection: Connection | None
    debugged: bool
    ended: asyncio.Future[Exit]
    process: subprocess.Popen[bytes] | None = None
    reason: str = "crash"
    """The reason if it ends by a signal."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def signal(self, number: int, reason: str) -> None:
        """Send a signal to the whole process group."""
        if self.ended.done():
            return
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.reason = reason
        if self.process is None:
            if number not in (signal.SIGSTOP, signal.SIGCONT):
                self.ended.set_result(Exit(None, number))
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Processes:
    """Manage the running apps of a phone."""

    def __init__(
        self,
        state: State,
        faults: Faults,
        *,
        find_app: Callable[[str], App | None],
        write_crash: Callable[[App, int, int, str], Path | None],
        event: Callable[[str], None],
    ) -> None:
        self._state = state
        self._faults = faults
        self._find_app = find_app
        self._write_crash = write_crash
        self._event = event
        self._running: dict[int, Running] = {}
        self._pids = itertools.count(FIRST_PID)

    def all(self) -> list[Running]:
        return list(self._running.values())

    def get(self, pid: int) -> Running | None:
        return self._running.get(pid)

    def of(self, bundle_id: str) -> Running | None:
        return next((running for running in self.all() if running.app.bundle_id == bundle_id), None)

    async def launch(
        self,
        bundle_id: str,
        arguments: list[str],
        environment: dict[str, str],
        *,
        sink: Sink | None = None,
        connection: Connection | None = None,
        suspended: bool = False,
        kill_existing: bool = True,
        debugged: bool = False,
    ) -> Running:
        """Launch an app; ``sink`` gets its output. Raises LaunchRefused.

        Faults at its output concern ``connection``. If the app already runs, it is ended first, or returned.
        """
        app = self._check(bundle_id)
        old = self.of(bundle_id)
        if old is not None:
            if not kill_existing:
                return old
            old.signal(signal.SIGKILL, "client")
            await asyncio.wait([old.ended])
        running = Running(
            next(self._pids), app, arguments, environment, sink, connection, debugged,
            asyncio.get_running_loop().create_future(),
        )  # fmt: skip
        self._running[running.pid] = running
        running.ended.add_done_callback(lambda _ended: self._gone(running))
        self._event(f"launch {bundle_id}")
        if not suspended:
            await self.resume(running)
        return running

    def _check(self, bundle_id: str) -> App:
        state = self._state
        app = self._find_app(bundle_id)
        if app is None:
            raise LaunchRefused("NotFound", f'The application "{bundle_id}" is unknown to FrontBoard.')
        if state.locked or state.before_first_unlock:
            raise LaunchRefused(
                "Locked", f"Unable to launch {bundle_id} because the device was not, or could not be, unlocked."
            )
        if not state.developer_mode:
            raise LaunchRefused("DeveloperMode", f"Unable to launch {bundle_id} because Developer Mode is disabled.")
        if not state.trusts_developer:
            raise LaunchRefused(
                "Security",
                f"Unable to launch {bundle_id} because it has an invalid code signature, inadequate entitlements or "
                "its profile has not been explicitly trusted by the user.",
            )
        if not os.access(app.companion, os.X_OK):
            self._event(f"no companion {bundle_id}")
            raise LaunchRefused("Broken", f"Failed to launch {bundle_id}: it has no companion that runs here.")
        return app

    async def resume(self, running: Running) -> None:
        """Start an app that was launched suspended, or let a stopped one continue."""
        if running.process is not None or running.ended.done():
            running.signal(signal.SIGCONT, "")
            return
        app, container = running.app, running.app.container
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(container),
            "CFFIXED_USER_HOME": str(container),
            "TMPDIR": str(container / "tmp"),
            "XPC_SERVICE_NAME": f"UIKitApplication:{app.bundle_id}",
            **running.environment,
        }
        try:
            running.process = process = subprocess.Popen(
                [str(app.executable), *running.arguments],
                executable=app.companion,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        except OSError as error:
            running.ended.set_result(Exit(None, signal.SIGKILL))
            raise LaunchRefused("Broken", f"Failed to launch {app.bundle_id}: {error}") from error
        loop = asyncio.get_running_loop()
        output = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), process.stdout)
        task = loop.create_task(self._attend(running, process, output))
        running.tasks.add(task)
        task.add_done_callback(running.tasks.discard)
        seconds = self._state.launch_watchdog_seconds
        if seconds is not None and not running.debugged:
            loop.call_later(seconds, self.end, running, "watchdog")

    async def _attend(self, running: Running, process: subprocess.Popen[bytes], output: asyncio.StreamReader) -> None:
        pump = asyncio.create_task(self._pump(running, output))
        running.tasks.add(pump)
        code = await asyncio.to_thread(process.wait)
        # Its own children end with it, so that none of them holds its output open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait([pump])
        with contextlib.suppress(Dropped, Refused):
            await self._faults.at("run.end", running.connection)
        if not running.ended.done():
            running.ended.set_result(Exit(code, None) if code >= 0 else Exit(None, -code))

    async def _pump(self, running: Running, output: asyncio.StreamReader) -> None:
        while chunk := await output.read(1 << 16):
            await self._send(running, chunk)

    async def _send(self, running: Running, chunk: bytes) -> None:
        try:
            await self._faults.at("run.output", running.connection)
            if running.sink is not None:
                await running.sink(chunk)
        except (Dropped, Refused):
            # Nobody listens any more, but the app continues.
            running.sink = None
            if running.connection is not None:
                running.connection.abort()

    def _gone(self, running: Running) -> None:
        self._running.pop(running.pid, None)
        exit_ = running.ended.result()
        how = f"signal {exit_.signal} {running.reason}" if exit_.signal is not None else f"code {exit_.code}"
        self._event(f"exit {running.app.bundle_id} {how}")
        if exit_.signal is not None:
            self._write_crash(running.app, running.pid, exit_.signal, running.reason)

    def end(self, running: Running, reason: str, number: int = signal.SIGKILL) -> None:
        """End an app as the system does (``watchdog``, ``jetsam``), by a signal (``crash``), or ``suspend`` it."""
        if reason == "suspend":
            number = signal.SIGSTOP
        elif reason != "crash":
            number = signal.SIGKILL
        running.signal(number, reason)

    def end_app(self, bundle_id: str) -> None:
        """End an app whose code is about to be replaced or removed."""
        running = self.of(bundle_id)
        if running is not None:
            running.signal(signal.SIGKILL, "removed")

    def end_all(self, reason: str, number: int) -> None:
        for running in self.all():
            self.end(running, reason, number)

    async def stop(self) -> None:
        """End all running apps; return when they are gone."""
        running = self.all()
        for each in running:
            each.signal(signal.SIGKILL, "client")
        if running:
            await asyncio.wait([each.ended for each in running], timeout=10.0)


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
