"""Find the change points of a series of nightly runs: where it moved to another level and stayed there.

E-divisive by Matteson & James (2014), "A nonparametric approach for multiple change point analysis of multivariate
data", JASA 109: a series is cut where the energy distance between the two sides is largest. A cut stands if a
permutation test shows that other orders of the same values would seldom give as large a distance. Hunter (Fleming et
al. 2023, "Hunter: using change point detection to hunt for performance regressions") brought it to benchmarks, with
windows and a least magnitude. Hunter replaced the permutation test by a t-test. We keep it, because nightly values have
heavy tails. The code is our own, because Apache Otava, Hunter's continuation, pins numpy and scipy below ours and
depends on cloud clients.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.pairs import Floats

WINDOW = 30
MAX_P = 0.001
MIN_MAGNITUDE = 0.03
PERMUTATIONS = 999
"""The smallest number of permutations whose smallest p-value, 1 / (permutations + 1), is MAX_P."""
MIN_SIZE = 3
"""The fewest nightly runs on a side of a change: two could be one bad weekend."""


@dataclass(frozen=True)
class ChangePoint:
    index: int
    """The index of the first value at the new level."""
    before: float
    after: float
    """The medians of the values between this change and its neighbours, in the unit of the series."""
    p: float

    @property
    def magnitude(self) -> float:
        """Return the change as a fraction: 0.05 for a rise by 5 %."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class _Cut:
    at: int
    """The index of the first value after the cut."""
    statistic: float


def divergence(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the empirical energy distance of two samples, scaled: equation 6 of the paper, for an exponent of 1.

    mn / (m + n) times (twice the mean distance between the samples less the mean distance within each). Raises
    ValueError unless both hold at least two values.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("each side needs two values")
    values = np.concatenate([x, y]).astype(np.float64)
    at, until = np.array([len(x)]), np.array([len(values)])
    return float(_divergences(_cumulated(_distances(values)[None]), at, until)[0, 0])


def change_points(
    values: Sequence[float] | Floats,
    *,
    rng: np.random.Generator,
    window: int = WINDOW,
    max_p: float = MAX_P,
    min_magnitude: float = MIN_MAGNITUDE,
) -> list[ChangePoint]:
    """Return the changes of a series of positive values, the earliest first.

    As in Hunter, a long series is searched in windows that overlap by half. So what was found once does not depend on
    how much longer the series has become. Then the smallest change below ``min_magnitude`` is removed, and its
    neighbours' levels are computed again, until none is left. Raises ValueError for a value that is not finite and
    above 0.
    """
    series = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(series).all() and (series > 0).all()):
        raise ValueError("a series needs finite values above 0")
    found: dict[int, float] = {}
    for start in _window_starts(len(series), window):
        part = series[start : start + window]
        for at, p in e_divisive(part, rng=rng, max_p=max_p):
            place = start + at
            known = next((other for other in found if abs(other - place) < MIN_SIZE), None)
            if known is None:
                found[place] = p
            elif p < found[known]:
                del found[known]
                found[place] = p
    while True:
        points = _levels(series, found)
        weakest = min(points, key=lambda point: abs(point.magnitude), default=None)
        if weakest is None or abs(weakest.magnitude) >= min_magnitude:
            return points
        del found[weakest.index]


def _window_starts(count: int, window: int) -> list[int]:
    step = max(1, window // 2)
    starts = list(range(0, max(1, count - window + 1), step))
    # The last nightly runs matter most, so the last window always ends with them.
    if starts[-1] + window < count:
        starts.append(count - window)
    return starts


def _levels(series: Floats, found: dict[int, float]) -> list[ChangePoint]:
    if not found:
        return []
    edges = [0, *sorted(found), len(series)]
    medians = [float(np.median(series[low:high])) for low, high in itertools.pairwise(edges)]
    return [
        ChangePoint(at, before, after, found[at])
        for at, before, after in zip(edges[1:-1], medians, medians[1:], strict=False)
    ]


def e_divisive(
    values: Sequence[float] | Floats,
    *,
    rng: np.random.Generator,
    max_p: float = MAX_P,
    permutations: int = PERMUTATIONS,
    min_size: int = MIN_SIZE,
) -> list[tuple[int, float]]:
    """Return index and p-value of each change, in the order of the series: the paper's algorithms 1 and 2.

    Changes are searched one at a time, within the clusters between the changes found so far. Each is tested by
    permuting the values within each cluster. The first that does not reach ``max_p`` ends the search.
    """
    series = np.asarray(values, dtype=np.float64)
    found: list[tuple[int, float]] = []
    while True:
        edges = [0, *sorted(at for at, _ in found), len(series)]
        clusters = [series[low:high] for low, high in itertools.pairwise(edges)]
        cuts = [_best_cut(cluster, min_size) for cluster in clusters]
        best = max(range(len(cuts)), key=lambda at: cuts[at].statistic)
        if not math.isfinite(cuts[best].statistic):
            break
        largest = np.max([_permuted(cluster, rng, permutations, min_size) for cluster in clusters], axis=0)
        # Distances of equal values are summed in another order, so equal statistics may differ in their last digits.
        as_large = np.count_nonzero(largest >= cuts[best].statistic * (1 - 1e-12))
        p = (int(as_large) + 1) / (permutations + 1)
        if p > max_p:
            break
        found.append((edges[best] + cuts[best].at, p))
    return sorted(found)


def _places(count: int, min_size: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], ...]:
    """Return every cut and every end of the part after it, both sides at least ``min_size`` long."""
    cut, until = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
    allowed = (cut >= min_size) & (until - cut >= min_size)
    return cut[allowed], until[allowed]


def _best_cut(cluster: Floats, min_size: int) -> _Cut:
    """Return the cut of the largest divergence; its statistic is -inf if the cluster is too short for one.

    Equation 7 of the paper: the part after the cut may end before the cluster does, because a change back would
    otherwise hide it.
    """
    cut, until = _places(len(cluster), min_size)
    if not len(cut):
        return _Cut(0, -math.inf)
    statistics = _divergences(_cumulated(_distances(cluster)[None]), cut, until)[0]
    best = int(np.argmax(statistics))
    return _Cut(int(cut[best]), float(statistics[best]))


def _permuted(cluster: Floats, rng: np.random.Generator, permutations: int, min_size: int) -> Floats:
    """Return [permutations]: the largest divergence of each order of the cluster's values."""
    cut, until = _places(len(cluster), min_size)
    if not len(cut):
        return np.full(permutations, -math.inf)
    order = rng.permuted(np.tile(np.arange(len(cluster)), (permutations, 1)), axis=1)
    distances = _distances(cluster)[order[:, :, None], order[:, None, :]]
    largest: Floats = _divergences(_cumulated(distances), cut, until).max(axis=1)
    return largest


def _distances(values: Floats) -> Floats:
    return np.abs(values[:, None] - values[None, :])


def _cumulated(distances: Floats) -> Floats:
    """Return [series, n + 1, n + 1]: sums over all rectangles from the corner, so that four of them give any block."""
    sums = np.zeros((len(distances), distances.shape[1] + 1, distances.shape[2] + 1))
    np.cumsum(np.cumsum(distances, axis=1), axis=2, out=sums[:, 1:, 1:])
    return sums


def _divergences(
    sums: Floats, cut: np.ndarray[tuple[int], np.dtype[np.intp]], until: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> Floats:
    """Return [series, places]: the divergences of values [0, cut) from [cut, until)."""
    first, second = cut, until - cut
    within_first = sums[:, cut, cut]
    across = sums[:, cut, until] - within_first
    within_second = sums[:, until, until] - within_first - 2 * across
    energy = (
        2 * across / (first * second) - within_first / (first * (first - 1)) - within_second / (second * (second - 1))
    )
    scaled: Floats = energy * first * second / (first + second)
    return scaled
