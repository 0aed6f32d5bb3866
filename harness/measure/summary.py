"""Compute latency statistics: pure functions over nanoseconds. No sample is dropped.

Samples of one word depend on each other. So intervals resample words and keep each word's samples together (the cluster
bootstrap: Davison & Hinkley 1997, "Bootstrap Methods and their Application", section 3.8; percentile intervals of Efron
& Tibshirani 1993, chapter 13). They describe the choice of words within one process. Only the interleaved gate measures
how processes and sessions differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Key = TypeVar("_Key")
Times = Sequence[int] | NDArray[np.int64]
"""The nanoseconds of one word's samples."""

RESAMPLES, BATCH = 2000, 100
SEED = 20_240_501
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Distribution:
    """Describe the distribution of warm samples, in nanoseconds."""

    samples: int
    words: int
    median: float
    median_interval: Interval | None
    """Bootstrap 95 % interval of the median; None with a single word."""
    p90: float
    p95: float
    p99: float
    mad: float
    """The median absolute deviation from the median, not scaled to a normal's standard deviation."""
    min: float
    max: float
    mean: float


def distribution(by_word: Mapping[str, Times]) -> Distribution:
    """Summarize samples grouped by word; raises ValueError without any sample.

    Quantiles are the median-unbiased ones (type 8 of Hyndman & Fan 1996), which they recommend.
    """
    groups = [np.asarray(samples, dtype=np.float64) for samples in by_word.values() if len(samples)]
    if not groups:
        raise ValueError("no samples")
    pooled = np.concatenate(groups)
    p90, p95, p99 = np.quantile(pooled, [0.90, 0.95, 0.99], method="median_unbiased")
    return Distribution(
        samples=len(pooled),
        words=len(groups),
        median=float(np.median(pooled)),
        median_interval=_median_interval(groups),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        mad=float(np.median(np.abs(pooled - np.median(pooled)))),
        min=float(pooled.min()),
        max=float(pooled.max()),
        mean=float(pooled.mean()),
    )


def _median_interval(groups: Sequence[NDArray[np.float64]]) -> Interval | None:
    if len(groups) < 2:
        return None
    if len({len(group) for group in groups}) == 1:
        table = np.stack(groups)
        return _bootstrap(len(groups), lambda drawn: np.median(table[drawn].reshape(len(drawn), -1), axis=-1))
    return _bootstrap(
        len(groups),
        lambda drawn: np.array([np.median(np.concatenate([groups[at] for at in row])) for row in drawn]),
    )


def _bootstrap(words: int, statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> Interval:
    """Return the percentile interval of a statistic of drawn word numbers, [resamples, words] to [resamples].

    The generator has a fixed seed, so that the same samples give the same text. The result equals scipy's
    ``bootstrap``, which is not called because importing it takes longer than most reports.
    """
    rng = np.random.default_rng(SEED)
    # This is done in pieces, because a statistic of all samples takes the memory of all samples for each resample.
    drawn = (rng.integers(words, size=(min(BATCH, RESAMPLES - at), words)) for at in range(0, RESAMPLES, BATCH))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate([statistic(rows) for rows in drawn]), [tail, 1 - tail])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class Timing:
    """Hold the parts of one timed sample, in nanoseconds, and its number of tokens."""

    item: str
    total_ns: int
    encoder_ns: int
    prefill_ns: int | None
    step_ns: int
    """The time of all decoder steps together."""
    tokens: int
    """Output tokens with the end token."""
    words: int = 1
    """Words of the batch."""


@dataclass(frozen=True)
class Split:
    """Hold medians over samples in nanoseconds: where the time of a word goes.

    ``other`` is the total without the calls: tokenization, argmax, text.
    """

    encoder: float
    prefill: float | None
    steps: float
    other: float


@dataclass(frozen=True)
class Rates:
    words_per_second: float
    """Words of all timed samples divided by the time of all timed samples."""
    ns_per_token: float
    """The time of all timed samples divided by their output tokens, end token included."""


def split(timings: Sequence[Timing]) -> Split:
    """Return the medians of the parts; raises ValueError without any timing."""
    if not timings:
        raise ValueError("no samples")
    prefills = [timing.prefill_ns for timing in timings if timing.prefill_ns is not None]
    others = [t.total_ns - t.encoder_ns - (t.prefill_ns or 0) - t.step_ns for t in timings]
    return Split(
        encoder=float(np.median([timing.encoder_ns for timing in timings])),
        prefill=float(np.median(prefills)) if prefills else None,
        steps=float(np.median([timing.step_ns for timing in timings])),
        other=float(np.median(others)),
    )


def rates(total_ns: int, words: int, tokens: int) -> Rates:
    """Return the rates of all samples together; raises ValueError unless all three are positive."""
    if min(total_ns, words, tokens) <= 0:
        raise ValueError("no samples")
    return Rates(words_per_second=words * 1e9 / total_ns, ns_per_token=total_ns / tokens)


@dataclass(frozen=True)
class Ratio:
    """Hold the ratio of B to A: above 1, B is slower."""

    words: int
    ratio: float
    interval: Interval | None
    """Bootstrap 95 % interval over words; None with a single word."""


def paired_ratio(a: Mapping[_Key, Times], b: Mapping[_Key, Times]) -> Ratio:
    """Compare the words that both have, each with itself, so that long and short words do not blur the result.

    A word's ratio is its median in B over its median in A; the estimate is the median of the words' log
    ratios, exponentiated, and its interval resamples words. Raises ValueError if no word has samples in both.
    """
    shared = [word for word in a if len(a[word]) and len(b.get(word, ()))]
    if not shared:
        raise ValueError("no word has samples in both runs")
    logs = np.log([np.median(b[word]) / np.median(a[word]) for word in shared])

    interval = None
    if len(shared) > 1:
        found = _bootstrap(len(shared), lambda drawn: np.median(logs[drawn], axis=-1))
        interval = Interval(float(np.exp(found.low)), float(np.exp(found.high)))
    return Ratio(words=len(shared), ratio=float(np.exp(np.median(logs))), interval=interval)
