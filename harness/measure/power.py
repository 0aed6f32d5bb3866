"""Compute what a session can detect: a device's own floor, and the smallest slowdown that would be found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.pairs import RESAMPLES, Floats, hodges_lehmann, process_noise, resampled, walsh_averages

POWER = 0.95
"""The probability of finding the minimum detectable effect."""
FLOOR_QUANTILE = 0.99
DRAWN_SESSIONS = 20_000
"""The number of sessions that a calibration draws: 200 of them lie beyond its quantile."""


@dataclass(frozen=True)
class Floor:
    """Describe how a device varies when a runner is measured against itself."""

    sessions: int
    pairs: int
    """The pairs of one session."""
    change: float
    """The bound of 99 of 100 sessions' estimates, as a fraction: 0.02 is 2 %."""
    noise: float
    """The median over sessions of the process noise."""


def calibrate(sessions: Sequence[ArrayLike], rng: np.random.Generator) -> Floor:
    """Return the floor of A/A sessions, each an array of log ratios; raises ValueError without any.

    The 99th percentile of a few sessions comes from 20,000 sessions that are drawn from them: a session's level, and
    pairs of all sessions around it, since all sessions of a device are equally noisy. Measured levels contain the
    pairs' noise already. So they are shrunk to the variance that the pairs do not explain (Carpenter, Goldstein &
    Rasbash 2003; Davison & Hinkley 1997, section 3.8). A against A lies above as likely as below, so the estimates
    count by size, whatever their sign. A single session does not show how sessions differ.
    """
    tables = [np.asarray(session, dtype=np.float64) for session in sessions]
    if not tables or not all(map(len, tables)):
        raise ValueError("a calibration needs sessions with pairs")
    pairs = min(map(len, tables))
    pool = np.concatenate([_around_zero(table) for table in tables])
    around = hodges_lehmann(pool[rng.integers(len(pool), size=(DRAWN_SESSIONS, pairs))])
    levels = np.array([float(hodges_lehmann(table)) for table in tables])
    total, within = float(np.mean(levels**2)), float(np.var(around))
    # One level does not show how levels differ. Then only the pairs count, around no change.
    between = max(0.0, total - within) if len(tables) > 1 else 0.0
    shrunk = levels * math.sqrt(between / total) if total > 0 else levels
    estimates = around + rng.choice(shrunk, DRAWN_SESSIONS)
    return Floor(
        sessions=len(tables),
        pairs=pairs,
        change=math.expm1(float(np.quantile(np.abs(estimates), FLOOR_QUANTILE))),
        noise=float(np.median([process_noise(table) for table in tables])),
    )


def _around_zero(differences: Floats) -> Floats:
    """Return the differences moved to lie around 0 and spread as the population is.

    Residuals are smaller by n / (n - 1) in their variance (Davison & Hinkley 1997, section 3.2).
    """
    count = len(differences)
    centred: Floats = differences - hodges_lehmann(differences)
    return centred * math.sqrt(count / (count - 1)) if count > 1 else centred


def critical_rank_sum(pairs: int, alpha: float) -> int | None:
    """Return the smallest signed-rank statistic whose one-sided p-value is at most ``alpha``; None if there is none.

    Its null distribution is that of the sum of a random subset of 1 … n (Wilcoxon 1945).
    """
    subsets = np.ones(1)
    for rank in range(1, pairs + 1):
        grown = np.zeros(len(subsets) + rank)
        grown[: len(subsets)] += subsets
        grown[rank:] += subsets
        subsets = grown
    tail = np.cumsum(subsets[::-1])[::-1] / 2.0**pairs
    reached = np.flatnonzero(tail <= alpha)
    return int(reached[0]) if len(reached) else None


def needed_shift(differences: ArrayLike, *, threshold: float, alpha: float) -> Floats:
    """Return by how much larger B would still have to be for each session [..., n] to be flagged, in logarithms.

    A shift moves every Walsh average by itself. The estimate is their median, and Wilcoxon's statistic the number of
    them above 0 (Tukey 1949). So both conditions of the gate give the shift in one step, without a search. The result
    is infinite if no shift gives a p-value of ``alpha``, as with fewer than 7 pairs for 0.01.
    """
    averages = walsh_averages(differences)
    count = averages.shape[-1]
    critical = critical_rank_sum(np.asarray(differences).shape[-1], alpha)
    if critical is None:
        return np.full(averages.shape[:-1], np.inf)
    estimate = (averages[..., (count - 1) // 2] + averages[..., count // 2]) / 2
    needed: Floats = np.maximum(threshold - estimate, -averages[..., count - critical])
    return needed


def detectable_change(
    differences: ArrayLike, *, threshold: float, alpha: float, sessions: int, rng: np.random.Generator
) -> float:
    """Return the smallest slowdown, as a fraction, that all of ``sessions`` flag with a probability of 95 %.

    It is found by drawing sessions from this one's pairs, moved to lie around no change: power by the bootstrap (Efron
    & Tibshirani 1993, chapter 25). ``threshold`` is the gate's, in logarithms.
    """
    values = np.asarray(differences, dtype=np.float64)
    drawn = resampled(_around_zero(values), rng, RESAMPLES)
    needed = needed_shift(drawn, threshold=threshold, alpha=alpha)
    if not np.isfinite(needed).all():
        return math.inf
    return math.expm1(float(np.quantile(needed, POWER ** (1 / sessions))))
