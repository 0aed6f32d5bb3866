"""Find the adb servers' addresses: that of adb's own variables, in the forms that adb reads, or a list of several."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.devices.options import COMMANDS, DeviceOption

DEFAULT_PORT = 5037
SERVERS = "HARNESS_ADB_SERVERS"
"""The variable with a list of servers, for commands that are not given ``--adb-server``."""
CONNECT_SECONDS = 3.0
ADB_SERVER = DeviceOption(
    "--adb-server",
    "use this adb server instead of adb's own, such as lab:5037; repeatable, or several with commas (as in "
    "HARNESS_ADB_SERVERS); a phone of one of several is called SERIAL@HOST:PORT",
    metavar="HOST:PORT",
    several=True,
    commands=COMMANDS,
)
_LOCAL = ("", "localhost", "127.0.0.1", "::1", "[::1]")


@dataclass(frozen=True)
class Address:
    """Hold the TCP port of a host, or the path of a local socket; an abstract socket's path begins with a zero byte."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str = ""

    @property
    def spec(self) -> str:
        """Return the address as adb's option ``-L`` and ``ADB_SERVER_SOCKET`` take it."""
        if self.path.startswith("\0"):
            return f"localabstract:{self.path[1:]}"
        if self.path:
            return f"localfilesystem:{self.path}"
        # A server only listens if no host is named.
        return f"tcp:{self.port}" if self.local else f"tcp:{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Return whether a server can be started there from here."""
        return bool(self.path) or self.host in _LOCAL

    @property
    def name(self) -> str:
        """Return the name of the server after a device's ``@``, as in ``emulator-5554@lab:5037``."""
        return self.spec if self.path else f"{'localhost' if self.local else self.host}:{self.port}"

    def __str__(self) -> str:
        """Return the port for a person, with the host if that is another machine."""
        if self.path:
            return f"socket {self.spec}"
        return f"port {self.port}" if self.local else f"port {self.port} of {self.host}"

    def connect(self) -> socket.socket:
        """Return a connected, blocking socket; raises OSError."""
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(CONNECT_SECONDS)
                connection.connect(self.path)
            except OSError:
                connection.close()
                raise
        else:
            connection = socket.create_connection((self.host.strip("[]"), self.port), timeout=CONNECT_SECONDS)
            # This shows within a minute that the machine at the other end was switched off.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(None)
        return connection


def server_address(environment: Mapping[str, str] | None = None) -> Address:
    """Return the address in the environment, as adb reads it; raises UsageError for values that adb would refuse.

    ``ADB_SERVER_SOCKET`` goes before ``ANDROID_ADB_SERVER_ADDRESS`` and ``ANDROID_ADB_SERVER_PORT``.
    """
    known = os.environ if environment is None else environment
    spec = known.get("ADB_SERVER_SOCKET")
    if spec:
        return parse_spec(spec)
    host = known.get("ANDROID_ADB_SERVER_ADDRESS") or "127.0.0.1"
    port = known.get("ANDROID_ADB_SERVER_PORT")
    return Address(host, _port(port, "ANDROID_ADB_SERVER_PORT") if port else DEFAULT_PORT)


def server_addresses(chosen: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> list[Address]:
    """Return the addresses in ``chosen``, or else in ``HARNESS_ADB_SERVERS``, or else adb's own.

    Several in one text are separated by commas. Raises UsageError.
    """
    known = os.environ if environment is None else environment
    for listed, name in ((",".join(chosen), "--adb-server"), (known.get(SERVERS), SERVERS)):
        parts = [part.strip() for part in (listed or "").split(",") if part.strip()]
        if parts:
            found = {address.name: address for address in (parse_server(part, name) for part in parts)}
            return list(found.values())
    return [server_address(known)]


def parse_server(text: str, name: str) -> Address:
    """Parse ``HOST:PORT``, ``HOST``, ``PORT``, or what ``ADB_SERVER_SOCKET`` may be; ``name`` is where it was given."""
    written = text.startswith(("tcp:", "localfilesystem:", "local:", "localabstract:"))
    return parse_spec(text if written else f"tcp:{text}", name)


def parse_spec(spec: str, name: str = "ADB_SERVER_SOCKET") -> Address:
    """Parse ``tcp:PORT``, ``tcp:HOST``, ``tcp:HOST:PORT``, ``localfilesystem:PATH`` or ``localabstract:NAME``."""
    kind, _, rest = spec.partition(":")
    if kind in ("localfilesystem", "local") and rest:
        return Address(path=rest)
    if kind == "localabstract" and rest:
        return Address(path=f"\0{rest}")
    if kind != "tcp" or not rest:
        raise UsageError(f"{name} is {spec!r}", cure="write tcp:HOST:PORT, tcp:PORT or localfilesystem:PATH")
    if rest.isascii() and rest.isdigit():
        return Address(port=_port(rest, name))
    host, colon, port = rest.rpartition(":")
    if rest.endswith("]") or not colon:
        return Address(rest)
    return Address(host or "127.0.0.1", _port(port, name))


def _port(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise UsageError(f"{name} names the port {text!r}", cure="write a number from 1 to 65535")
    return int(text)
