"""Statistics over raw samples. Pure functions; the papers are cited where they are used."""

from __future__ import annotations

from harness.measure.summary import (
    Distribution,
    Interval,
    Rates,
    Ratio,
    Split,
    Timing,
    distribution,
    paired_ratio,
    rates,
    split,
)

__all__ = [
    "Distribution",
    "Interval",
    "Rates",
    "Ratio",
    "Split",
    "Timing",
    "distribution",
    "paired_ratio",
    "rates",
    "split",
]
