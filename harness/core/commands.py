"""Run another program to its end, for what it writes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_command(
    command: Sequence[str | Path],
    *,
    deadline: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Return the status and the texts that a program wrote. Nothing can be typed into it.

    Bytes that are not UTF-8 are replaced. Raises OSError for a program that cannot be started, and
    subprocess.TimeoutExpired for one that does not end in time.
    """
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=deadline,
        cwd=cwd,
        env=env,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
