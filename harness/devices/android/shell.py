"""Run commands on one device: whole answers, and a live stream of a long command's output."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from adbutils import AdbConnection, AdbDevice, AdbError

from harness.devices.android.listing import Listed, listed
from harness.devices.android.server import Server

_STDOUT, _STDERR, _EXIT = 1, 2, 3
_HEADER_BYTES = 5
_RECEIVE = 2**16


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Return the device's message on one line."""
        return " ".join((self.err.strip() or self.out.strip()).split())


@dataclass(frozen=True)
class Output:
    """Hold what arrived on a stream: bytes of stdout and of stderr, and the exit status once there is one."""

    out: bytes
    err: bytes
    status: int | None = None


@cache
def script(name: str) -> str:
    """Return one of the shell scripts that run on the device."""
    return resources.files("harness.devices.android").joinpath(f"scripts/{name}.sh").read_text(encoding="utf-8")


class Transport(AdbDevice):
    """Address a device by its transport, which no other device has, or by its serial if no transport is known.

    Each time a device is attached, the server gives it another transport. A lost device is looked for by its serial and
    by the place where it is plugged in.
    """

    def __init__(self, server: Server, place: Listed) -> None:
        super().__init__(server, serial=place.serial or place.path, transport_id=place.transport)
        self._server = server
        self.place = place

    def open_transport(self, command: str | None = None, timeout: float | None = None) -> AdbConnection:
        try:
            return super().open_transport(command, timeout)
        except AdbError as error:
            if "no device with transport id" not in str(error):
                raise
            same = [info for info in listed(self._server) if _is_again(self.place, info)]
            if len(same) != 1:
                raise
            self.move(same[0])
            return super().open_transport(command, timeout)

    def move(self, place: Listed) -> None:
        """Continue at another transport."""
        self.place = place
        self._serial, self._transport_id = place.serial or place.path, place.transport


def _is_again(before: Listed, now: Listed) -> bool:
    return now.state == "device" and (now.serial, now.path) == (before.serial, before.path)


class Shell:
    """Run commands in a device's shell, by the transport ``place`` or by the serial alone."""

    def __init__(self, server: Server, place: Listed | str) -> None:
        self.server = server
        place = Listed(place, "device") if isinstance(place, str) else place
        self.serial = place.label
        """The device's name in messages, however it is attached later."""
        self.hardware: str | None = None
        """The phone's own serial, once it is known."""
        self.stays = False
        """True if it is known only by its place, because others have the same serial."""
        self.adb = Transport(server, place)

    def run(self, text: str, *arguments: str, deadline: float, what: str) -> Answer:
        """Run a shell text with ``arguments`` as $1, $2 …; raises what Server.deadline does."""
        with self.server.deadline(deadline, f"{what} on {self.serial}"):
            # The first version of the protocol has no exit status and mixes stderr into stdout.
            done = self.adb.shell2(_command(text, arguments), timeout=None, v2=True)
        return Answer(done.returncode, str(done.stdout), str(done.stderr))

    @contextlib.contextmanager
    def stream(self, text: str, *arguments: str, deadline: float, what: str) -> Iterator[Stream]:
        """Start a shell text and follow it; ``deadline`` is for the start alone."""
        with self.server.deadline(deadline, f"{what} on {self.serial}"):
            connection = self.adb.open_transport(timeout=None)
            connection.send_command("shell,v2,raw:" + _command(text, arguments))
            connection.check_okay()
        try:
            yield Stream(connection)
        finally:
            connection.close()


_MOST_FRAME_BYTES = 2**22
"""The most bytes of a frame; adbd cuts at 1 MiB."""


class Stream:
    """Read frames of the shell protocol, version 2: a byte for the kind, four of length, the data."""

    def __init__(self, connection: AdbConnection) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def read(self, wait: float) -> Output:
        """Return what has arrived, after waiting at most ``wait`` seconds for something.

        Raises EOFError if the connection was cut.
        """
        self._connection.conn.settimeout(wait)
        try:
            data = self._connection.conn.recv(_RECEIVE)
        except TimeoutError:
            return Output(b"", b"")
        if not data:
            raise EOFError("the connection to the device was cut")
        self._buffer += data
        return self._take_frames()

    def _take_frames(self) -> Output:
        found = {_STDOUT: bytearray(), _STDERR: bytearray()}
        at = 0
        status = None
        while len(self._buffer) - at >= _HEADER_BYTES and status is None:
            kind = self._buffer[at]
            length = int.from_bytes(self._buffer[at + 1 : at + _HEADER_BYTES], "little")
            if length > _MOST_FRAME_BYTES:
                raise OSError(f"the device announced {length} bytes at once, which adbd never does")
            end = at + _HEADER_BYTES + length
            if len(self._buffer) < end:
                break
            data = self._buffer[at + _HEADER_BYTES : end]
            if kind in found:
                found[kind] += data
            elif kind == _EXIT and data:
                status = data[0]
            at = end
        del self._buffer[:at]
        return Output(bytes(found[_STDOUT]), bytes(found[_STDERR]), status)


def _command(text: str, arguments: tuple[str, ...]) -> str:
    return f"set -- {shlex.join(arguments)}\n{text}" if arguments else text
