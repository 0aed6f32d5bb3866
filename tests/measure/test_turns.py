"""Ratios of two sides that take turns: against scipy, and that their intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.measure.turns import turn_ratios


def logs_of(items: int, rounds: int, *, noise: float, seed: int = 1, effect: float = -2.0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    centres = effect + rng.normal(0, 0.3, items)
    return {f"i{at}": list(rng.normal(centre, noise, rounds)) for at, centre in enumerate(centres)}


def test_scipy_and_a_plain_hodges_lehmann_give_the_same() -> None:
    logs = logs_of(5, 6, noise=0.1)
    found = turn_ratios(logs)
    walsh = {item: [(x + y) / 2 for at, x in enumerate(of) for y in of[at:]] for item, of in logs.items()}
    estimates = {item: float(np.median(averages)) for item, averages in walsh.items()}
    for item, one in found.by_item.items():
        assert math.log(one.ratio) == pytest.approx(estimates[item])
        interval = stats.ttest_1samp(logs[item], 0).confidence_interval(0.95)
        assert one.interval is not None
        assert math.log(one.interval.high / one.interval.low) == pytest.approx(interval.high - interval.low)
    assert found.overall.ratio == pytest.approx(float(stats.gmean([one.ratio for one in found.by_item.values()])))
    means = np.mean(list(logs.values()), axis=0)
    interval = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.overall.interval is not None
    assert math.log(found.overall.interval.high / found.overall.ratio) == pytest.approx(
        (interval.high - interval.low) / 2
    )


@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_95_of_100_intervals_hold_the_truth(rounds: int) -> None:
    inside, centres = 0, -2.0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = turn_ratios({f"i{at}": list(rng.normal(centres, 0.1, rounds)) for at in range(4)}).overall
        assert found.interval is not None
        inside += found.interval.low <= math.exp(centres) <= found.interval.high
    assert stats.binomtest(inside, 400, 0.95).pvalue > 0.001


def test_a_disturbed_round_widens_the_interval_and_hardly_moves_the_ratio() -> None:
    logs = logs_of(5, 6, noise=0.01)
    calm = turn_ratios(logs).overall
    disturbed = turn_ratios({item: [*of[:5], of[5] + 1] for item, of in logs.items()}).overall
    assert calm.interval is not None
    assert disturbed.interval is not None
    assert disturbed.interval.high / disturbed.interval.low > 2
    assert calm.interval.high / calm.interval.low < 1.05
    assert disturbed.ratio == pytest.approx(calm.ratio, rel=0.02)
    assert disturbed.interval.low < calm.ratio < disturbed.interval.high


def test_unlike_items_do_not_widen_it() -> None:
    found = turn_ratios({"short": [math.log(0.1)] * 4, "long": [math.log(0.9)] * 4}).overall
    assert found.ratio == pytest.approx(0.3)
    assert found.interval is not None
    assert found.interval.high == pytest.approx(found.interval.low)


def test_one_round_has_no_interval_and_nothing_is_no_ratio() -> None:
    assert turn_ratios({"a": [0.0]}).overall.interval is None
    wrong: list[dict[str, list[float]]] = [{}, {"a": []}, {"a": [0.0], "b": [0.0, 0.0]}, {"a": [math.inf]}]
    for logs in wrong:
        with pytest.raises(ValueError, match=r"rounds|finite"):
            turn_ratios(logs)
