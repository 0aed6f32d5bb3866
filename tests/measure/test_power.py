"""What a session could have seen, against the gate itself: a shift just above what is needed is flagged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.pairs import hodges_lehmann, signed_rank_p
from harness.measure.power import calibrate, critical_rank_sum, detectable_change, needed_shift


@pytest.mark.parametrize(("pairs", "expected"), [(10, 50), (12, 69), (15, 101), (6, None)])
def test_critical_values_of_the_published_tables(pairs: int, expected: int | None) -> None:
    """Upper 1 % points of the signed-rank statistic: n (n + 1) / 2 less Wilcoxon's lower ones: 5, 9, 19."""
    assert critical_rank_sum(pairs, 0.01) == expected


@given(st.lists(st.floats(-0.2, 0.2, allow_subnormal=False), min_size=7, max_size=12, unique=True))
def test_the_needed_shift_is_where_the_gate_begins_to_flag(values: list[float]) -> None:
    differences = np.array(values)
    averages = (differences[:, None] + differences[None, :]) / 2
    if len(np.unique(np.round(averages[np.triu_indices(len(values))], 9))) < len(values) * (len(values) + 1) / 2:
        return  # Walsh averages that tie are at the boundary together, on either side of rounding.
    needed = float(needed_shift(differences, threshold=0.03, alpha=0.01))

    def flagged(shift: float) -> bool:
        moved = differences + shift
        return signed_rank_p(moved) <= 0.01 and float(hodges_lehmann(moved)) > 0.03

    assert flagged(needed + 1e-7)
    assert not flagged(needed - 1e-7)


def test_six_pairs_can_show_nothing() -> None:
    rng = np.random.default_rng(1)
    assert np.isinf(needed_shift(np.zeros(6), threshold=0.03, alpha=0.01))
    assert detectable_change(np.zeros(6), threshold=0.03, alpha=0.01, sessions=2, rng=rng) == math.inf


def test_what_is_called_detectable_is_detected_as_often_as_promised() -> None:
    """From a long session, whose pairs are the population; its sessions are then drawn afresh."""
    rng = np.random.default_rng(2)
    population = rng.normal(0, 0.02, 10)
    found = detectable_change(population, threshold=math.log1p(0.03), alpha=0.01, sessions=2, rng=rng)
    centred = (population - hodges_lehmann(population)) * math.sqrt(10 / 9)
    both = 0
    for _ in range(400):
        drawn = rng.choice(centred, (2, 10)) + math.log1p(found)
        both += all(signed_rank_p(one) <= 0.01 and hodges_lehmann(one) > math.log1p(0.03) for one in drawn)
    assert both / 400 == pytest.approx(0.95, abs=0.04)


def test_more_noise_hides_more() -> None:
    rng = np.random.default_rng(3)
    pairs = stats.norm.ppf(np.linspace(0.05, 0.95, 10))
    seen = [
        detectable_change(pairs * noise, threshold=math.log1p(0.03), alpha=0.01, sessions=2, rng=rng)
        for noise in (0.01, 0.03, 0.06)
    ]
    assert 0.03 < seen[0] < seen[1] < seen[2]
    # The estimate's standard error of 0.003, twice, above the threshold.
    assert seen[0] == pytest.approx(0.036, abs=0.003)


def test_the_floor_is_the_99th_percentile_of_the_estimates() -> None:
    rng = np.random.default_rng(4)
    sessions = list(rng.normal(0, 0.02, (200, 10)))
    estimates = np.abs(hodges_lehmann(rng.normal(0, 0.02, (100_000, 10))))
    floor = calibrate(sessions, rng)
    assert floor.change == pytest.approx(math.expm1(float(np.quantile(estimates, 0.99))), rel=0.1)
    assert floor.noise == pytest.approx(0.02 / math.sqrt(2), rel=0.1)
    assert (floor.sessions, floor.pairs) == (200, 10)


def test_sessions_that_differ_among_each_other_raise_the_floor() -> None:
    rng = np.random.default_rng(5)
    pairs = rng.normal(0, 0.01, (20, 10))
    alike, apart = (
        calibrate(list(pairs), rng),
        calibrate(list(pairs + stats.norm.ppf(np.linspace(0.05, 0.95, 20))[:, None] * 0.03), rng),
    )
    assert apart.change > 2 * alike.change
    with pytest.raises(ValueError, match="pairs"):
        calibrate([], rng)
