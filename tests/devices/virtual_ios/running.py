"""Whether a process of this machine still runs."""

from __future__ import annotations

from pathlib import Path

from tests.devices.virtual.processes import wait_until


def runs(pid: int) -> bool:
    """Whether it does; one that has ended and that nobody has asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not runs(pid), f"the end of process {pid}")
