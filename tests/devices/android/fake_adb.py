"""An adb server of another kind: it serves the host protocol and lists what a test wants to see listed."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Listing = Callable[[], Sequence[str]]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Answering)
        length = self.rfile.read(4)
        if not length:
            return
        if server.adb.garbage:
            self.wfile.write(server.adb.garbage)
            return
        command = self.rfile.read(int(length, 16)).decode()
        server.adb.asked.append(command)
        answer = server.adb.answer(command)
        status, text = (b"FAIL", f"unknown host service: {command}".encode()) if answer is None else (b"OKAY", answer)
        self.wfile.write(status + f"{len(text):04x}".encode() + text)


class _Answering(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True
    adb: FakeAdb


class _Tcp(_Answering, socketserver.TCPServer):
    pass


class _Unix(_Answering, socketserver.UnixStreamServer):
    pass


class FakeAdb:
    """``devices`` are lines of ``adb devices -l``, asked for each time; ``binary`` is the binary listing, where the
    server has one; ``garbage`` is sent instead of any answer."""

    def __init__(self, devices: Listing, version: int, garbage: bytes, binary: bytes | None) -> None:
        self.garbage = garbage
        self.more: dict[str, bytes] = {}
        """Answers to other commands."""
        self.asked: list[str] = []
        self.port = 0
        self._devices = devices
        self._version = version
        self._binary = binary

    def answer(self, command: str) -> bytes | None:
        if command == "host:version":
            return f"{self._version:04x}".encode()
        if command == "host:devices-l":
            return "".join(f"{line}\n" for line in self._devices()).encode()
        if command == "host:host-features" and self._binary is not None:
            return b"shell_v2,cmd,stat_v2,devicetracker_proto_format,devraw"
        if command == "host:track-devices-proto-binary":
            return self._binary
        return self.more.get(command)


@contextmanager
def fake_adb(
    *devices: str,
    version: int = 41,
    garbage: bytes = b"",
    binary: bytes | None = None,
    changing: Listing | None = None,
    path: Path | None = None,
) -> Iterator[FakeAdb]:
    """Listens on a loopback port, or on a socket with a path, until the block ends."""
    adb = FakeAdb(changing or (lambda: devices), version, garbage, binary)
    with _Unix(str(path), _Handler) if path else _Tcp(("127.0.0.1", 0), _Handler) as server:
        server.adb = adb
        if path is None:
            adb.port = int(server.socket.getsockname()[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield adb
        finally:
            server.shutdown()
            thread.join()
