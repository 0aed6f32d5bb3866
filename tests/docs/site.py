"""The built site of the documentation, and what it is made of, for the tests that look at it."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = "0.1"


class Collected(logging.Handler):
    """Keep what mkdocs and its plugins complain about: ``mkdocs build --strict`` fails for the same."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def build(folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """Build the site as mike does for a version, in this process; return the complaints."""
    patch.setenv("NO_MKDOCS_2_WARNING", "1")
    patch.setenv("MIKE_DOCS_VERSION", VERSION)
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    heard = Collected()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(heard)
    try:
        build_site(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder / VERSION), strict=False))
    finally:
        logger.removeHandler(heard)
    return heard.lines


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_arguments: object) -> None:
        """Print no line for each request."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; the address ends with a slash."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
