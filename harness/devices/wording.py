"""Describe a runner's end to a person."""

from __future__ import annotations

import signal


def ending_of(status: int) -> str:
    """Return the meaning of an exit status, negative for a signal."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def quoted(log: bytes, name: str = "stderr") -> str:
    """Return the last lines of a log, on one line, for a message."""
    lines = log.decode(errors="replace").strip().splitlines()[-3:]
    return f"; its {name} ends: {' | '.join(line.strip() for line in lines)[-400:]}" if lines else ""
