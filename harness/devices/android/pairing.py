"""Phones over Wi-Fi: found by what they announce, paired with the six digits that they show, and connected.

The adb server does the work; its services are ``host:mdns:services``, ``host:pair:CODE:ADDRESS`` and
``host:connect:ADDRESS`` (the client's side is ``adb pair`` and ``adb connect``). Android 11 and newer can be paired.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from adbutils import AdbError

from harness.core.errors import UsageError
from harness.core.text import quoted
from harness.devices.android.server import Server
from harness.devices.errors import DeviceError

PAIRING, CONNECT = "_adb-tls-pairing._tcp", "_adb-tls-connect._tcp"
ASK_SECONDS = 10.0
PAIR_SECONDS = 30.0
"""The server gives up on a phone that does not answer after about as long."""
APPEAR_SECONDS = 10.0
"""A phone announces where it can be connected shortly after it was paired."""
_CODE = re.compile(r"\d{6}")
_ADDRESS = re.compile(r"(\[[0-9A-Za-z:.%_-]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*):(\d{1,5})")
_STEPS = "on the phone: Developer options, Wireless debugging, Pair device with pairing code; it shows address and code"


class PairingFailed(DeviceError):
    """The server could not pair with the phone, or not connect to it."""

    cure = f"look at the phone, whose code and port change each time: {_STEPS}"


@dataclass(frozen=True)
class Announced:
    """A service that a phone announces. ``name`` is such as ``adb-35121JEHN28132-jr888A``."""

    name: str
    service: str
    address: str

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]


def announced(server: Server) -> list[Announced]:
    """Return what phones near this computer announce; empty where the server cannot listen. Raises AdbUnavailable."""
    answer = _ask(server, "host:mdns:services", ASK_SECONDS, "looking for phones")
    found = [line.split("\t") for line in answer.splitlines()]
    return [Announced(parts[0], parts[1].rstrip("."), parts[2]) for parts in found if len(parts) == 3]


def to_pair(server: Server) -> str:
    """Return the address of the one phone that waits to be paired. Raises UsageError for none, or several."""
    waiting = [one for one in announced(server) if one.service == PAIRING]
    if len(waiting) == 1:
        return waiting[0].address
    if not waiting:
        raise UsageError(
            "no phone announces that it waits to be paired", cure=f"{_STEPS}; give the address as HOST:PORT"
        )
    known = ", ".join(f"{quoted(one.address)} ({quoted(one.name)})" for one in waiting)
    raise UsageError(
        f"{len(waiting)} phones wait to be paired: {known}", cure="give the address of the one that is meant"
    )


def pair(server: Server, address: str, code: str) -> str:
    """Pair with the phone at ``address`` by the code that it shows; return the server's words.

    Raises UsageError for what is no address or no code, PairingFailed, and what Server.deadline does.
    """
    check_address(address)
    if not _CODE.fullmatch(code):
        raise UsageError("a pairing code has six digits", cure=_STEPS)
    answer = _ask(server, f"host:pair:{code}:{address}", PAIR_SECONDS, f"pairing with {address}")
    if not answer.startswith("Successfully paired"):
        raise PairingFailed(f"{address} was not paired: {quoted(answer)}")
    return answer


def connect_paired(server: Server, address: str, *, wait_seconds: float = APPEAR_SECONDS) -> str | None:
    """Connect the phone that was paired at ``address``; return its serial, None where it announces no place.

    Raises PairingFailed and what Server.deadline does.
    """
    host = address.rpartition(":")[0]
    until = time.monotonic() + wait_seconds
    while True:
        there = [one for one in announced(server) if one.service == CONNECT and one.host == host]
        if there or time.monotonic() >= until:
            break
        time.sleep(0.2)
    if not there:
        return None
    place = check_address(there[0].address)
    answer = _ask(server, f"host:connect:{place}", PAIR_SECONDS, f"connecting to {place}")
    if not answer.startswith(("connected to", "already connected to")):
        raise PairingFailed(f"{place} was paired and not connected: {quoted(answer)}")
    return place


def check_address(address: str) -> str:
    """Return the address. Raises UsageError unless it has the form HOST:PORT."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[2]) < 2**16:
        raise UsageError(f"{quoted(address)} is no address", cure="give HOST:PORT, as the phone shows it with its code")
    return address


def _ask(server: Server, service: str, seconds: float, what: str) -> str:
    """Return the server's answer, also one that reports a failure of the service."""
    with server.deadline(seconds, what), server.make_connection() as connection:
        connection.send_command(service)
        connection.check_okay()
        # The service was found; pairing that fails then has a status of its own in front of its answer.
        length = connection.read_exact(4)
        if length == b"FAIL":
            length = connection.read_exact(4)
        answer: bytes = connection.read_exact(_length(length))
    return answer.decode("utf-8", errors="replace").strip()


def _length(digits: bytes) -> int:
    try:
        return int(digits, 16)
    except ValueError as error:
        raise AdbError(f"no length but {digits!r}") from error
