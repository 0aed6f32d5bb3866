"""Talk to the adb server through adbutils, with a deadline on everything."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from adbutils import AdbClient, AdbConnection, AdbError
from adbutils._utils import adb_path
from adbutils.errors import AdbConnectionError, AdbTimeout

from harness.core.commands import run_command
from harness.core.errors import HarnessError
from harness.devices.android.address import Address, server_address
from harness.devices.android.errors import AdbMismatch, AdbUnavailable
from harness.devices.errors import CommandTimeout, DeviceLost, DeviceUnauthorized

PROTOCOL_VERSION = 41
"""The protocol version of every adb since platform-tools 28; older ones have other commands."""
START_SECONDS = 20.0
ASK_SECONDS = 5.0
TROUBLE = (AdbError, EOFError, OSError)
"""The errors of a lost device or server: adbutils raises all three for the same cause."""


class Connection(AdbConnection):
    """Open a socket to the server. adbutils' own class would start a server on the default port if none answers."""

    def __init__(self, address: Address) -> None:
        self._address = address
        super().__init__(address.host, address.port)

    def _safe_connect(self) -> socket.socket:
        try:
            return self._address.connect()
        except OSError as error:
            raise AdbConnectionError(f"connect to adb server failed: {error}") from error

    def close(self) -> None:
        # adbutils' own sleeps ten milliseconds, which is most of a command's time.
        with contextlib.suppress(OSError):
            self.conn.close()


class Server(AdbClient):
    """Use the server at ``port`` of this machine or at ``address``, by default at that of adb's variables
    (``address.py``).

    ``starts`` allows starting a missing one, with the adb that adbutils finds (``ADBUTILS_ADB_PATH``, its own). On
    another machine none can be started. Raises UsageError for variables that adb would refuse.
    """

    def __init__(self, port: int | None = None, *, address: Address | None = None, starts: bool = True) -> None:
        self.address = Address(port=port) if port else address or server_address()
        super().__init__(host=self.address.host, port=self.address.port)
        self._starts = starts and self.address.local
        self._version: int | None = None
        self._deadlines = threading.local()

    def make_connection(self, timeout: float | None = None) -> AdbConnection:
        """Return a connection that the current deadline can cut."""
        connection = Connection(self.address)
        if timeout:
            connection.conn.settimeout(timeout)
        for deadline in self._running():
            deadline.watch(connection.conn)
        return connection

    def server_version(self) -> int:
        # adbutils asks before every command, and a connection for each would cost ten milliseconds.
        if self._version is None:
            self._version = int(super().server_version())
        return self._version

    def ensure(self) -> None:
        """Make sure that a usable server runs; raises AdbUnavailable or AdbMismatch."""
        self._version = None
        if not self.answers():
            self._start()
        version = self.ask_version()
        if version != PROTOCOL_VERSION:
            raise AdbMismatch(
                f"the adb server on {self.address} is version 1.0.{version}, this harness uses 1.0.{PROTOCOL_VERSION}"
            )

    def ask_version(self) -> int:
        """Return the version of a running server; raises AdbMismatch if it is not an adb server."""
        self._version = None
        try:
            with self.deadline(ASK_SECONDS, "the adb server's version"):
                return self.server_version()
        except AdbUnavailable:
            raise
        except (HarnessError, ValueError) as error:
            raise AdbMismatch(f"what listens on {self.address} is no adb server: {error.args[0]}") from error

    def answers(self) -> bool:
        """Return whether something listens at the server's address; starts nothing."""
        try:
            Connection(self.address).close()
        except TROUBLE:
            return False
        return True

    def _start(self) -> None:
        if not self._starts:
            raise AdbUnavailable(f"no adb server answers on {self.address}")
        command = [adb_path(), "-L", self.address.spec, "start-server"]
        try:
            done = run_command(command, deadline=START_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AdbUnavailable(f"an adb server could not be started on {self.address}: {error}") from error
        if done.returncode != 0 or not self.answers():
            output = (done.stderr or done.stdout).strip()[-300:]
            raise AdbUnavailable(f"an adb server could not be started on {self.address}: {output}")

    @contextlib.contextmanager
    def deadline(self, seconds: float, what: str) -> Iterator[None]:
        """Cut every connection that this thread opens in the context once ``seconds`` are over.

        ``what`` names the work. Raises CommandTimeout then, and turns adbutils' errors into ours: DeviceLost,
        DeviceUnauthorized, AdbUnavailable.
        """
        deadline = _Deadline(seconds)
        running = self._running()
        running.append(deadline)
        try:
            yield
        except TROUBLE as error:
            if deadline.over:
                raise CommandTimeout(f"{what}: no answer within {seconds:g} s") from error
            raise explained(error, what, self.address) from error
        finally:
            running.remove(deadline)
            deadline.end()

    def _running(self) -> list[_Deadline]:
        if not hasattr(self._deadlines, "running"):
            self._deadlines.running = []
        running: list[_Deadline] = self._deadlines.running
        return running


class _Deadline:
    """Shut sockets down when the time is over; this wakes their readers and writers in any thread."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets.append(connection)
            if self.over:
                _shut(connection)

    def end(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for connection in self._sockets:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def explained(error: Exception, what: str, address: Address) -> HarnessError:
    """Return the harness's error for an error of adbutils or of its socket."""
    words = " ".join(str(error).split()) or type(error).__name__
    message = f"{what}: {words}"
    if isinstance(error, AdbConnectionError | AdbTimeout | ConnectionRefusedError):
        return AdbUnavailable(f"{what}: no adb server answers on {address} ({words})")
    if "unauthorized" in words:
        return DeviceUnauthorized(message)
    if "permissions" in words:
        return DeviceUnauthorized(
            message, cure="let this user reach USB devices (Debian: apt install android-sdk-platform-tools-common)"
        )
    if "offline" in words:
        return DeviceLost(message, cure="unplug the device, plug it in again, and restart its USB debugging if need be")
    return DeviceLost(message)
