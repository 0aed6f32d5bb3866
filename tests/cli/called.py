"""Commands called inside the test's process, which is a hundred times faster than a process each."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.cli import main


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Called:
    """Run one command and return what it printed and its exit code."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    printed = capsys.readouterr()
    return Called(int(done.value.code or 0), printed.out, printed.err)
