"""The paired statistics against scipy, against counting by hand, and against what they promise of any numbers."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure.pairs import (
    Pair,
    bootstrap_interval,
    hodges_lehmann,
    log_ratios,
    measure_shift,
    process_noise,
    run_figure,
    signed_rank_p,
    walsh_averages,
)

# Darwin's fifteen pairs of maize plants (1876), crossed against self-fertilized, in eighths of an inch; the data that
# Fisher (1935, "The Design of Experiments", section 17) made the textbook example of pairs.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

differences = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=12)


def test_pairs_that_others_have_computed() -> None:
    """Hollander & Wolfe's arithmetic on Darwin's data: a signed-rank sum of 96 of 120."""
    assert float(np.sum(walsh_averages(DARWIN) > 0)) == 96
    assert signed_rank_p(DARWIN) == pytest.approx(stats.wilcoxon(DARWIN, alternative="greater").pvalue)
    by_hand = statistics.median((DARWIN[i] + DARWIN[j]) / 2 for i in range(len(DARWIN)) for j in range(i, len(DARWIN)))
    assert float(hodges_lehmann(DARWIN)) == by_hand


@given(differences)
def test_the_estimate_is_the_median_of_all_means_of_two(values: list[float]) -> None:
    pairs = itertools.combinations_with_replacement(values, 2)
    assert float(hodges_lehmann(values)) == pytest.approx(statistics.median((x + y) / 2 for x, y in pairs), abs=1e-15)


@given(differences, st.floats(-1, 1))
def test_the_estimate_moves_with_the_values_and_turns_with_their_signs(values: list[float], shift: float) -> None:
    found = float(hodges_lehmann(values))
    assert float(hodges_lehmann(np.array(values) + shift)) == pytest.approx(found + shift, abs=1e-9)
    assert float(hodges_lehmann(-np.array(values))) == pytest.approx(-found, abs=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_ties_and_zeros_are_exact_over_all_signs(values: list[int]) -> None:
    """Small whole numbers tie all the time; every assignment of signs to the same ranks is as likely."""
    kept = [value for value in values if value]
    if not kept:
        assert signed_rank_p(values) == 1.0
        return
    ranks = [rank for rank, value in zip(stats.rankdata(np.abs(values)), values, strict=True) if value]
    observed = sum(rank for rank, value in zip(ranks, kept, strict=True) if value > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product([False, True], repeat=len(ranks))]
    assert signed_rank_p(values) == pytest.approx(sum(total >= observed for total in sums) / len(sums))


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=12, unique_by=abs).filter(all))
def test_without_ties_it_is_scipys_exact_test(values: list[float]) -> None:
    expected = stats.wilcoxon(values, alternative="greater", method="exact").pvalue
    assert signed_rank_p(values) == pytest.approx(float(expected))


def test_the_smallest_p_of_ten_pairs_and_of_many_tied_ones() -> None:
    assert signed_rank_p(np.arange(1, 11)) == 1 / 1024
    assert signed_rank_p(-np.arange(1, 11)) == 1.0
    tied = [1] * 15 + [-1] * 15
    assert signed_rank_p(tied) == pytest.approx(0.5, abs=0.02)
    assert signed_rank_p([1] * 30) < 1e-6


def test_process_noise_is_the_spread_of_one_run() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 0.02, (2, 100_000))
    assert process_noise(b - a) == pytest.approx(0.02, rel=0.02)
    tens = [process_noise(row) for row in (b - a).reshape(-1, 10)]
    assert np.mean(tens) == pytest.approx(0.02, rel=0.08)


def test_one_disturbed_pair_is_no_noise_but_two_speeds_are() -> None:
    quiet = [0.001, -0.002, 0.003, -0.001, 0.002, 0.0, -0.003, 0.001, -0.002]
    assert process_noise([*quiet, 0.3]) < 0.004
    # A runner that is 10 % slower every other time: most differences are equal, and still nothing is sure.
    assert process_noise([0.0] * 5 + [0.1, -0.1, 0.1, -0.1, 0.1]) > 0.05
    assert process_noise([0.1]) == 0.0


def test_the_interval_covers_the_truth_about_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(300):
        interval = bootstrap_interval(rng.normal(0.05, 0.02, 10), rng, resamples=500)
        covered += interval.low <= 0.05 <= interval.high
    assert 262 <= covered <= 296  # 93 % expected: the chance of leaving these bounds is below 1e-3


def test_the_same_seed_gives_the_same_shift() -> None:
    values = np.random.default_rng(7).normal(0.03, 0.02, 10)
    found = measure_shift(values, np.random.default_rng(1))
    assert found == measure_shift(values, np.random.default_rng(1))
    assert found.interval.low < found.estimate < found.interval.high
    assert found.pairs == 10


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_numbers_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        measure_shift(values, np.random.default_rng(1))


def test_a_runs_figure_weighs_words_alike_and_ignores_a_wild_sample() -> None:
    assert run_figure({"short": [100, 100, 9_000_000], "long": [400, 400, 400]}) == pytest.approx(200)
    faster, slower = {"a": [100], "b": [1000]}, {"a": [110], "b": [1100]}
    assert log_ratios([Pair(run_figure(faster), run_figure(slower))]) == pytest.approx([math.log(1.1)])
    none: list[dict[str, list[int]]] = [{}, {"a": []}, {"a": [0]}]
    for bad in none:
        with pytest.raises(ValueError, match="above 0"):
            run_figure(bad)
