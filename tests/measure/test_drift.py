"""Change points: the statistic against its definition and scipy's energy distance, the search against known series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.drift import MIN_SIZE, change_points, divergence, e_divisive

samples = st.lists(st.floats(-10, 10), min_size=2, max_size=8)


def by_definition(x: list[float], y: list[float]) -> float:
    n, m = len(x), len(y)
    across = sum(abs(a - b) for a in x for b in y) * 2 / (n * m)
    first = sum(abs(x[i] - x[k]) for i in range(n) for k in range(i + 1, n)) / math.comb(n, 2)
    second = sum(abs(y[i] - y[k]) for i in range(m) for k in range(i + 1, m)) / math.comb(m, 2)
    return n * m / (n + m) * (across - first - second)


def test_by_hand() -> None:
    # 2 * mean(|0-3|, |0-5|, |1-3|, |1-5|) - 1 - 2 = 4, times 2 * 2 / 4.
    assert divergence([0, 1], [3, 5]) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="two"):
        divergence([1], [1, 2])


@given(samples, samples)
def test_the_papers_formula(x: list[float], y: list[float]) -> None:
    assert divergence(x, y) == pytest.approx(by_definition(x, y), abs=1e-8)


@given(samples, samples)
def test_scipys_energy_distance_less_its_bias(x: list[float], y: list[float]) -> None:
    """scipy divides the distances within a sample by n², the paper by n (n - 1)."""
    n, m = len(x), len(y)

    def excess(values: list[float]) -> float:
        mean = sum(abs(a - b) for a in values for b in values) / len(values) ** 2
        return mean / (len(values) - 1)

    expected = float(stats.energy_distance(x, y)) ** 2 - excess(x) - excess(y)
    assert divergence(x, y) == pytest.approx(n * m / (n + m) * expected, abs=1e-6)


def test_one_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    series = np.exp(rng.normal(0, 0.01, 30))
    series[18:] *= 1.05
    (found,) = change_points(series, rng=rng)
    assert found.index == 18
    assert found.p == 0.001
    assert found.magnitude == pytest.approx(0.05, abs=0.01)
    assert found.before == np.median(series[:18])


def test_a_change_and_its_repair_are_two() -> None:
    rng = np.random.default_rng(2)
    series = np.exp(rng.normal(0, 0.01, 30))
    series[10:20] *= 1.08
    assert [point.index for point in change_points(series, rng=rng)] == [10, 20]


def test_a_long_series_through_windows() -> None:
    rng = np.random.default_rng(3)
    series = np.exp(rng.normal(0, 0.01, 130))
    series[40:] *= 1.06
    series[101:] *= 0.9
    found = change_points(series, rng=rng)
    assert [point.index for point in found] == [40, 101]
    assert found[0].after == found[1].before == np.median(series[40:101])
    # What was found stays found when nightly runs are added.
    assert [point.index for point in change_points(series[:70], rng=rng)] == [40]


def test_steps_too_small_to_matter_are_left_out_though_certain() -> None:
    rng = np.random.default_rng(4)
    series = np.exp(rng.normal(0, 0.002, 30))
    series[15:] *= 1.02
    assert [at for at, _ in e_divisive(series, rng=rng)] == [15]
    assert change_points(series, rng=rng) == []


def test_one_bad_nightly_run_or_weekend_is_no_new_level() -> None:
    rng = np.random.default_rng(5)
    series = np.exp(rng.normal(0, 0.01, 30))
    series[12:14] *= 1.3
    assert change_points(series, rng=rng) == []


def test_false_alarms_are_as_rare_as_the_p_value_promises() -> None:
    """150 series without a change, heavy tails and all: 0.15 alarms expected, three would be one chance in 1,900."""
    rng = np.random.default_rng(6)
    alarms = sum(bool(change_points(np.exp(0.02 * rng.standard_t(3, 30)), rng=rng)) for _ in range(150))
    assert alarms < 3


@pytest.mark.parametrize("count", range(2 * MIN_SIZE))
def test_short_series_have_no_changes(count: int) -> None:
    assert change_points([1.0, 9.0, 1.0, 9.0, 9.0, 9.0][:count], rng=np.random.default_rng(1)) == []


def test_equal_values_and_impossible_ones() -> None:
    assert change_points([2.0] * 40, rng=np.random.default_rng(1)) == []
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            change_points([1.0, bad], rng=np.random.default_rng(1))
