"""What a waiting person sees where there is no terminal, and where there is one."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import time

import pytest

from harness.report import progress
from harness.report.progress import TerminalProgress


def test_quick_work_leaves_no_trace() -> None:
    out = io.StringIO()
    with TerminalProgress(out).stage("running") as stage:
        stage.advance(1, 2)
        stage.advance(2, 2)
    assert out.getvalue() == ""


def test_long_work_is_reported_in_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    out = io.StringIO()
    with TerminalProgress(out).stage("running") as stage:
        stage.describe("starting")
        stage.describe("going on at once")
        for at in range(10):
            time.sleep(0.02)
            stage.advance(at, 10)
    lines = out.getvalue().splitlines()
    assert lines[0] == "harness: running: starting"
    assert "harness: running: going on at once" not in lines
    assert 2 <= sum(bool(re.fullmatch(r"harness: running: \d of 10", line)) for line in lines) <= 5
    assert re.fullmatch(r"harness: running: \d s", lines[-1])


def test_a_terminal_shows_a_bar_and_is_left_clean() -> None:
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal, TerminalProgress(terminal).stage("running [parity]") as stage:
        stage.advance(3, 7)
        time.sleep(0.3)
    shown = _read_all(parent)
    assert "running [parity]" in shown
    assert "3/7" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def _read_all(parent: int) -> str:
    """Everything the terminal got: one read may return less, and Linux ends a closed pty with EIO."""
    shown = b""
    with open(parent, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while chunk := stream.read(2**16):
            shown += chunk
    return shown.decode()


def test_an_error_inside_passes_through() -> None:
    with pytest.raises(ValueError, match="inside"), TerminalProgress(io.StringIO()).stage("running"):
        raise ValueError("inside")
