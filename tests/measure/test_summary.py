"""Statistics against independent computations: the standard library's, and known populations."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.measure import Timing, distribution, paired_ratio, rates, split
from harness.measure.summary import BATCH, CONFIDENCE, RESAMPLES, SEED


def lognormal(words: int, repetitions: int, *, seed: int, scale: float = 1.0) -> dict[str, list[int]]:
    """Samples with a level per word and noise within it, in nanoseconds."""
    rng = random.Random(seed)
    levels = [rng.gauss(14, 0.4) for _ in range(words)]
    return {
        f"w{at}": [int(scale * math.exp(level + rng.gauss(0, 0.02))) for _ in range(repetitions)]
        for at, level in enumerate(levels)
    }


def test_figures_by_the_standard_library() -> None:
    by_word = lognormal(13, 10, seed=1)
    pooled = [sample for samples in by_word.values() for sample in samples]
    found = distribution(by_word)
    median = statistics.median(pooled)
    assert found.median == median
    assert (found.min, found.max, found.samples, found.words) == (min(pooled), max(pooled), 130, 13)
    assert found.mad == statistics.median(abs(sample - median) for sample in pooled)
    assert found.mean == pytest.approx(statistics.fmean(pooled))

    def type_8(p: float) -> float:
        ordered = sorted(pooled)
        place = (len(ordered) + 1 / 3) * p + 1 / 3
        below = int(place)
        return ordered[below - 1] + (place - below) * (ordered[min(below, len(ordered) - 1)] - ordered[below - 1])

    assert (found.p90, found.p95, found.p99) == pytest.approx((type_8(0.9), type_8(0.95), type_8(0.99)))


@given(
    st.dictionaries(
        st.text(max_size=2), st.lists(st.integers(1, 10**9), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
def test_the_order_of_the_figures(by_word: dict[str, list[int]]) -> None:
    found = distribution(by_word)
    assert found.min <= found.median <= found.p90 <= found.p95 <= found.p99 <= found.max
    assert found.samples == sum(map(len, by_word.values()))
    if found.median_interval:
        assert found.min <= found.median_interval.low <= found.median_interval.high <= found.max


def test_no_outlier_is_dropped() -> None:
    by_word = {"a": [100] * 99 + [10**9]}
    assert distribution(by_word).max == 10**9


def test_the_interval_is_the_same_every_time_and_for_ragged_words_too() -> None:
    by_word = lognormal(20, 5, seed=2)
    assert distribution(by_word) == distribution(by_word)
    even = distribution(by_word).median_interval
    ragged = distribution(by_word | {"w0": by_word["w0"] + by_word["w0"][:1]}).median_interval
    assert even is not None
    assert ragged is not None
    assert ragged.low == pytest.approx(even.low, rel=0.05)
    assert ragged.high == pytest.approx(even.high, rel=0.05)


@pytest.mark.parametrize("words", [2, 3, 40])
def test_the_interval_is_scipys(words: int) -> None:
    table = np.array(list(lognormal(words, 5, seed=4).values()))
    expected = stats.bootstrap(
        (np.arange(words),),
        lambda drawn, axis: np.median(table[np.moveaxis(drawn, axis, -1)].reshape(*drawn.shape[:-1], -1), axis=-1),
        n_resamples=RESAMPLES,
        batch=BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    found = distribution({str(at): row.tolist() for at, row in enumerate(table)}).median_interval
    assert found is not None
    assert (found.low, found.high) == (expected.low, expected.high)


def test_the_interval_resamples_words_not_samples() -> None:
    """Two words far apart, a thousand samples each: what is unknown is which words, so the interval spans both."""
    by_word = {"short": [1000] * 1000, "long": [9000] * 1000}
    found = distribution(by_word).median_interval
    assert found is not None
    assert (found.low, found.high) == (1000, 9000)


def test_the_interval_covers_the_populations_median_about_as_often_as_it_claims() -> None:
    population_median = math.exp(14)
    covered = 0
    for seed in range(100):
        found = distribution(lognormal(40, 3, seed=seed)).median_interval
        assert found is not None
        covered += found.low <= population_median <= found.high
    assert covered >= 86  # 95 expected; the chance of fewer than 86 is below 1e-3


def test_one_word_has_no_interval_and_none_is_an_error() -> None:
    assert distribution({"a": [5]}).median_interval is None
    with pytest.raises(ValueError, match="no samples"):
        distribution({"a": []})


def test_split_and_rates() -> None:
    timings = [Timing("a", 100, 40, 10, 45, 5), Timing("b", 200, 80, 20, 90, 10), Timing("c", 300, 90, 30, 170, 15)]
    found = split(timings)
    assert (found.encoder, found.prefill, found.steps, found.other) == (80, 20, 90, 10)
    assert split([Timing("a", 100, 40, None, 45, 5)]).prefill is None
    speed = rates(total_ns=2_000_000_000, words=10, tokens=50)
    assert speed.words_per_second == 5
    assert speed.ns_per_token == 40_000_000
    with pytest.raises(ValueError, match="no samples"):
        rates(0, 0, 0)


def test_a_paired_ratio_sees_a_small_change_that_pooled_medians_do_not() -> None:
    a, b = lognormal(60, 10, seed=3), lognormal(60, 10, seed=3)
    slower = {word: [int(sample * 1.05) for sample in samples] for word, samples in b.items()}
    found = paired_ratio(a, slower)
    assert found.ratio == pytest.approx(1.05, rel=1e-4)
    assert found.interval is not None
    assert found.interval.low > 1.04
    assert found.interval.high < 1.06
    alone = distribution(a).median_interval
    assert alone is not None
    assert alone.high / alone.low > 1.1


def test_a_paired_ratio_uses_only_shared_words() -> None:
    found = paired_ratio({"a": [10], "b": [10], "c": []}, {"a": [20], "c": [1], "d": [1]})
    assert (found.words, found.interval) == (1, None)
    assert found.ratio == pytest.approx(2.0)
    with pytest.raises(ValueError, match="both"):
        paired_ratio({"a": [1]}, {"b": [1]})


def test_a_ratio_of_a_run_with_itself_is_one() -> None:
    a = lognormal(10, 4, seed=4)
    found = paired_ratio(a, a)
    assert found.ratio == 1.0
    assert found.interval is not None
    assert found.interval.low == found.interval.high == 1.0
    assert np.isfinite(found.ratio)
