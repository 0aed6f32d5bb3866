"""Compute statistics of two sides that take turns on the same items, round by round: A, B, then B, A, and so on.

The two times of a pair are taken directly one after the other. So everything that holds for both (the clock, the
neighbours, the temperature) cancels in their ratio. What does not cancel shows in how the rounds differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.pairs import CONFIDENCE, Floats, hodges_lehmann
from harness.measure.summary import Interval


@dataclass(frozen=True)
class TurnRatio:
    """Hold the ratio of A to B. ``interval`` is None with a single round."""

    ratio: float
    interval: Interval | None


@dataclass(frozen=True)
class TurnRatios:
    """Hold the geometric mean of the items' ratios, and each item's own."""

    rounds: int
    overall: TurnRatio
    by_item: dict[str, TurnRatio]


def turn_ratios(logs: Mapping[str, Sequence[float]]) -> TurnRatios:
    """Return the ratios from the logarithms of A's time over B's, by item.

    Each item's values are in the order of the rounds, and every item has all rounds. An item's ratio is the
    Hodges-Lehmann estimate over its rounds, so that one disturbed pair does not move it. The overall ratio is their
    geometric mean, the one mean that does not depend on which side is called A (Fleming & Wallace 1986, "How not to lie
    with statistics"). Intervals are Student's, around the estimates. An item's comes from how its pairs differ, the
    overall one from how the rounds' means over all items differ. Rounds are repeated, so the interval is over rounds
    (Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time"); pairs of one round are not taken to be
    independent. The standard deviation is the plain one: a disturbance that the estimate ignores still widens the
    interval. Raises ValueError without any, for unequal rounds, or if one is not finite.
    """
    lengths = {len(values) for values in logs.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError("every item needs the same rounds, at least one")
    table = np.array(list(logs.values()), dtype=np.float64)
    if not np.isfinite(table).all():
        raise ValueError("ratios have to be finite")
    estimates = hodges_lehmann(table)
    by_item = {
        item: _ratio(float(estimate), rounds) for item, estimate, rounds in zip(logs, estimates, table, strict=True)
    }
    overall = _ratio(float(estimates.mean()), table.mean(axis=0))
    return TurnRatios(rounds=table.shape[1], overall=overall, by_item=by_item)


def _ratio(estimate: float, rounds: Floats) -> TurnRatio:
    """Return the ratio with its interval; ``rounds`` [rounds] are log ratios."""
    count = len(rounds)
    if count < 2:
        return TurnRatio(math.exp(estimate), None)
    # Loading scipy.stats would take a second.
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * float(np.std(rounds, ddof=1)) / math.sqrt(count)
    return TurnRatio(math.exp(estimate), Interval(_exp(estimate - half), _exp(estimate + half)))


def _exp(value: float) -> float:
    """Return e to the value, limited to a finite float: a bound from two wild rounds may exceed any."""
    return math.exp(min(value, 700.0))
