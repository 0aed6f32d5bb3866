"""Define limits that need no statistics: a build's size is the same every time, and memory nearly so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MEMORY_GROWTH = 0.05
"""The allowed growth of the peak resident set."""
SIZE_GROWTH = 0.02
"""The allowed growth of the archive's and the runner's bytes."""


@dataclass(frozen=True)
class Growth:
    """Hold a quantity of A and B in bytes, and the fraction by which B may exceed A."""

    metric: str
    a: float
    b: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.b / self.a

    @property
    def exceeded(self) -> bool:
        return self.ratio > 1 + self.limit


def memory_growth(a: Sequence[int], b: Sequence[int]) -> Growth | None:
    """Return the growth of the medians over runs of the peak resident set, in bytes; None if a side has none."""
    if not a or not b:
        return None
    return Growth("peak memory", median(a), median(b), MEMORY_GROWTH)


def size_growth(metric: str, a: int, b: int) -> Growth:
    return Growth(metric, a, b, SIZE_GROWTH)
