"""Run the real adb server on a port of its own. It sees no phone of this machine, and no other server sees it."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import adbutils

from harness.virtual.android.device import free_port, listens
from harness.virtual.android.errors import VirtualDeviceUnavailable
from harness.virtual.android.packages import MULTIARCH, Packages
from harness.virtual.child import Child, Sandboxed

START_DEADLINE_SECONDS = 20.0
CONNECT_DEADLINE_SECONDS = 20.0
HOME = "/home"


class _Connection(adbutils.AdbConnection):
    def _safe_connect(self) -> socket.socket:
        # adbutils would start a server of the machine's own if none answers, and leave it running.
        return self._create_socket()


class _Client(adbutils.AdbClient):
    def make_connection(self, timeout: float | None = None) -> adbutils.AdbConnection:
        connection = _Connection(self.host, self.port)
        if timeout:
            connection.conn.settimeout(timeout)
        return connection


class AdbServer(Sandboxed):
    """Run adbutils' own adb as a server, with its key and log in ``folder``, on 127.0.0.1 only.

    It runs in a sandbox without USB, finds no emulators and announces nothing.
    """

    def __init__(self, folder: Path, *, packages: Packages, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._packages = packages

    @property
    def adb(self) -> Path:
        """Return the adb program that fits this server."""
        return Path(adbutils.__file__).parent / "binaries/adb"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that make adb and adbutils use this server (to be added to ``os.environ``)."""
        return {
            "ANDROID_ADB_SERVER_ADDRESS": "127.0.0.1",
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ADBUTILS_ADB_PATH": str(self.adb),
            "ANDROID_USER_HOME": str(self.folder / "home/.android"),
            **_QUIET,
        }

    @property
    def client(self) -> adbutils.AdbClient:
        """Return a client of this server that never starts another one."""
        return _Client(host="127.0.0.1", port=self.port)

    @property
    def log(self) -> Path:
        """Return the server's log."""
        return self.folder / "adb.log"

    def start(self) -> AdbServer:
        """Start the server; return when it answers. Raises VirtualDeviceUnavailable."""
        if self.alive:
            return self
        if listens(self.port):
            raise VirtualDeviceUnavailable(
                f"port {self.port} is taken", cure="end what listens there, or choose another port"
            )
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        command = ["/bin/adb", "-P", str(self.port), "server", "nodaemon"]
        try:
            self._child = Child(self._sandbox(), command, self.log)
        except OSError as error:
            raise VirtualDeviceUnavailable(f"cannot start an adb server: {error}") from error
        until = time.monotonic() + START_DEADLINE_SECONDS
        while not listens(self.port):
            if not self._child.alive or time.monotonic() > until:
                self.stop()
                output = self.log.read_text(errors="replace", encoding="utf-8").strip()[-2000:]
                raise VirtualDeviceUnavailable(f"the adb server did not come up on port {self.port}:\n{output}")
            time.sleep(0.01)
        return self

    def connect(self, serial: str) -> None:
        """Connect a device and wait until it is usable. Raises VirtualDeviceUnavailable."""
        until = time.monotonic() + CONNECT_DEADLINE_SECONDS
        output = ""
        while time.monotonic() < until:
            try:
                output = self.client.connect(serial, timeout=CONNECT_DEADLINE_SECONDS)
                if any((info.serial, info.state) == (serial, "device") for info in self.client.list()):
                    return
            except (adbutils.AdbError, EOFError, OSError) as error:
                output = str(error)
            time.sleep(0.02)
        raise VirtualDeviceUnavailable(f"the adb server cannot connect to {serial}: {output}")

    def stop(self) -> None:
        """End the server."""
        self._end_child()

    def kill(self) -> None:
        """End the server abruptly, as a crash does; ``start()`` brings it back on the same port."""
        self.stop()

    def _sandbox(self) -> list[str]:
        library = self._packages.folder / "lib"
        arguments = [*self._packages.sandbox, "--unshare-user", "--unshare-ipc", "--new-session", "--clearenv"]
        arguments += ["--ro-bind", str(library), f"/lib/{MULTIARCH}", "--symlink", f"lib/{MULTIARCH}", "/lib64"]
        arguments += ["--ro-bind", str(self.adb), "/bin/adb", "--bind", str(self.folder / "home"), HOME]
        arguments += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/"]
        for name, value in {"HOME": HOME, "PATH": "/bin", **_QUIET}.items():
            arguments += ["--setenv", name, value]
        return arguments


_QUIET = {
    "ADB_LIBUSB": "0",
    "ADB_MDNS": "0",
    "ADB_MDNS_OPENSCREEN": "0",
    "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # one below the first port at which it would look for emulators
}
