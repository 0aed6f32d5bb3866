"""Developer disk images as they lie on this computer once they were downloaded, and the way to Apple's signatures."""

from __future__ import annotations

import contextlib
import plistlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pymobiledevice3 import common
from pymobiledevice3.services.mobile_image_mounter import LATEST_DDI_BUILD_ID


def have_images(home: Path, monkeypatch: pytest.MonkeyPatch, *, boards: tuple[tuple[int, int], ...] = ()) -> None:
    """Where pymobiledevice3 keeps what it downloaded; the personalised image is for these chips and boards."""
    monkeypatch.setattr(common, "_HOMEFOLDER", home)
    shared = home / "Xcode.app/Contents/Developer/Platforms/iPhoneOS.platform/DeviceSupport/16.7"
    shared.mkdir(parents=True)
    (shared / "DeveloperDiskImage.dmg").write_bytes(b"image")
    (shared / "DeveloperDiskImage.dmg.signature").write_bytes(b"signature")
    personalized = home / "Xcode_iOS_DDI_Personalized"
    personalized.mkdir()
    (personalized / "Image.dmg").write_bytes(b"image")
    (personalized / "Image.trustcache").write_bytes(b"trusted")
    known = [
        {"ApChipID": hex(chip), "ApBoardID": hex(board), "Manifest": {"LoadableTrustCache": {"Info": {}}}}
        for chip, board in boards
    ]
    manifest = {"ProductBuildVersion": LATEST_DDI_BUILD_ID, "BuildIdentities": known}
    (personalized / "BuildManifest.plist").write_bytes(plistlib.dumps(manifest))


def use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let whoever asks the internet ask this port of loopback."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)


SIGNED = b"STATUS=0&MESSAGE=SUCCESS&REQUEST_STRING=" + plistlib.dumps({"ApImg4Ticket": b"ticket"})
NOT_ELIGIBLE = b"STATUS=94&MESSAGE=This device isn't eligible for the requested build."


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Answer every request so, in the place of Apple's signing service; the port, and what was to be signed."""
    asked: list[dict[str, Any]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(plistlib.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()
