"""An adb server of another kind: it speaks the host protocol and lists what a test wants to see listed."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, FakeAdb)
        length = self.rfile.read(4)
        if not length:
            return
        if server.garbage:
            self.wfile.write(server.garbage)
            return
        command = self.rfile.read(int(length, 16)).decode()
        answer = server.answer(command)
        status, text = ("FAIL", f"unknown host service: {command}") if answer is None else ("OKAY", answer)
        self.wfile.write(f"{status}{len(text):04x}{text}".encode())


class FakeAdb(socketserver.ThreadingTCPServer):
    """``devices`` are lines of ``adb devices -l``; ``garbage`` is sent instead of any answer."""

    daemon_threads = True

    def __init__(self, devices: tuple[str, ...], version: int, garbage: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._devices = devices
        self._version = version
        self.garbage = garbage

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def answer(self, command: str) -> str | None:
        if command == "host:version":
            return f"{self._version:04x}"
        if command == "host:devices-l":
            return "".join(f"{line}\n" for line in self._devices)
        return None


@contextmanager
def fake_adb(*devices: str, version: int = 41, garbage: bytes = b"") -> Iterator[FakeAdb]:
    """Listens on a loopback port until the block ends."""
    with FakeAdb(devices, version, garbage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
