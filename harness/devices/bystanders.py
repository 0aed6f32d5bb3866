"""Measure what else this machine does while something is timed on it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")


@dataclass(frozen=True)
class OtherLoad:
    cores: int | None
    """The number of the machine's cores."""
    others: float | None
    """How many cores other programs kept busy, on average."""
    steal: float | None
    """The share of the cores' time that the machine's host gave to others."""


class Bystanders:
    """Compare the machine's load at construction and in :meth:`seen`.

    Values are None if the system does not report them; Linux does.
    """

    def __init__(self) -> None:
        self._began, self._ticks, self._ours = time.monotonic(), _ticks(), _ours_s()

    def seen(self, more_s: float = 0.0) -> OtherLoad:
        """Return the load since construction.

        This process, its ended children and ``more_s`` seconds count as ours.
        """
        cores, ticks, elapsed = os.cpu_count(), _ticks(), time.monotonic() - self._began
        if self._ticks is None or ticks is None or cores is None or elapsed <= 0:
            return OtherLoad(cores, None, None)
        busy, stolen = (now - before for now, before in zip(ticks, self._ticks, strict=True))
        ours = _ours_s() - self._ours + more_s
        return OtherLoad(cores, round(max(0.0, busy - ours) / elapsed, 2), round(stolen / (elapsed * cores), 3))


def _ours_s() -> float:
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def _ticks() -> tuple[float, float] | None:
    """Return the seconds that all cores together were busy, and that were stolen, since the machine started."""
    try:
        name, *fields = STAT.read_text(encoding="utf-8").split("\n", 1)[0].split() or [""]
        user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    return ((user + nice + system + irq + softirq) / tick, steal / tick) if name == "cpu" else None
