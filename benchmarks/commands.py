"""Measure what a command costs as a person calls it: a process of its own, its bytecode kept from the call before."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEADLINE_SECONDS = 600.0


@dataclass(frozen=True)
class Cost:
    """Seconds of one call, from the start of its process to its end."""

    wall: float
    cpu: float
    """Of the processor: what it takes however busy the machine is with others."""


@dataclass(frozen=True)
class Costs:
    calls: Sequence[Cost]

    @property
    def median(self) -> float:
        return statistics.median(cost.wall for cost in self.calls)

    @property
    def least(self) -> float:
        return min(cost.wall for cost in self.calls)

    @property
    def cpu(self) -> float:
        """Median."""
        return statistics.median(cost.cpu for cost in self.calls)


def call(command: Sequence[str], folder: Path, **environment: str) -> Cost:
    """Run it, its output thrown away; ``folder`` keeps bytecode even where the environment forbids it.

    Raises CalledProcessError.
    """
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        env=kept | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")} | environment,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def load() -> str:
    """Return how busy the machine is, to stand beside every figure."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
