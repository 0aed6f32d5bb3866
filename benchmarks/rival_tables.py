"""Compute what rivals.py shows: figures, ratios to the fastest rival, agreement. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.rival_names import OURS, PYTORCH, TITLES
from benchmarks.workers.rival_serving import LEAST_CALLS
from harness.core.errors import HarnessError

LARGEST_ERROR = {"fp32": 2e-3, "int8": 0.5}
"""Of the largest element of an output. Beyond it the answers are another model's, and so are the times.

float32 leaves room for Winograd's convolutions in deep models. int8 on random weights diverges far: beyond half of the
largest element nothing is left.
"""


class BadAnswer(HarnessError):
    """A worker answered with something else than was asked for."""

    cure = "run again with --engines naming the others"


@dataclass
class Measured:
    """What one engine gave for one model."""

    rounds: list[list[int]] = field(default_factory=list)
    """Nanoseconds of the calls, by round."""
    load_ns: list[int] = field(default_factory=list)
    """From the file to a model that can be called; ours once in each round."""
    first_ns: int | None = None
    """The first call."""
    memory_bytes: int | None = None
    """The most that the process held, without what the engine's library alone needs; of ours the whole process."""
    size_bytes: int | None = None
    error: float | None = None
    """The largest difference from PyTorch, as a share of the largest element of the output."""
    facts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None

    @property
    def least_ms(self) -> float | None:
        """Return the fastest call: what is least disturbed by other programs."""
        calls = [call for one in self.rounds for call in one]
        return min(calls) / 1e6 if calls else None

    @property
    def median_ms(self) -> float | None:
        """Return the median over rounds of each round's median."""
        medians = [statistics.median(one) for one in self.rounds if one]
        return statistics.median(medians) / 1e6 if medians else None

    def ms(self, by: str) -> float | None:
        return self.least_ms if by == "least" else self.median_ms

    def wrong(self, precision: str) -> bool:
        return self.error is not None and not self.error <= LARGEST_ERROR[precision]


def largest_error(got: Sequence[Any], expected: Sequence[Any]) -> float:
    """Return the largest difference of all outputs, each as a share of its largest element.

    Outputs are compared by their elements in order, since some engines drop axes of one element. It is infinite where
    the number of outputs or of elements differs, or a number is not finite.
    """
    if len(got) != len(expected):
        return math.inf
    worst = 0.0
    for one, other in zip(got, expected, strict=True):
        flat, wanted = np.asarray(one).reshape(-1).astype(np.float64), np.asarray(other).reshape(-1).astype(np.float64)
        if flat.shape != wanted.shape or not np.isfinite(flat).all():
            return math.inf
        scale = float(np.abs(wanted).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(flat - wanted).max(initial=0.0)) / scale)
    return worst


def calls_of(answer: Mapping[str, Any]) -> list[int]:
    """Return the times in a worker's answer; raises BadAnswer if they are none."""
    times = answer.get("ns")
    if not isinstance(times, list) or len(times) < LEAST_CALLS or not all(type(t) is int and t > 0 for t in times):
        raise BadAnswer(f"a round was answered with {str(answer)[:100]}")
    return times


def number_of(answer: Mapping[str, Any], name: str) -> int:
    """Return a whole number of a worker's answer; raises BadAnswer without one."""
    value = answer.get(name)
    if type(value) is not int or value < 0:
        raise BadAnswer(f"{name} is {value!r}")
    return value


def memory_of(answer: Mapping[str, Any]) -> int | None:
    """Return what the process held beyond the engine's library; None where the system does not show it."""
    if answer.get("peak_bytes") is None:
        return None
    return max(0, number_of(answer, "peak_bytes") - number_of(answer, "base_bytes"))


def fastest_rival(engines: Mapping[str, Measured], precision: str, by: str) -> tuple[str, float] | None:
    """Return the engine beside ours that is fastest with right answers, and its milliseconds."""
    found = [
        (ms, name)
        for name, one in engines.items()
        if name != OURS and not one.wrong(precision) and (ms := one.ms(by)) is not None
    ]
    return (min(found)[1], min(found)[0]) if found else None


def ratio(engines: Mapping[str, Measured], precision: str, by: str) -> float | None:
    """Return our time over the fastest rival's; None if one of the two has none, or ours is wrong."""
    ours, rival = engines.get(OURS), fastest_rival(engines, precision, by)
    if ours is None or rival is None or ours.wrong(precision):
        return None
    ms = ours.ms(by)
    return None if ms is None else ms / rival[1]


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    known = [one for one in ratios if one is not None]
    return statistics.geometric_mean(known) if known else None


def engine_table(model: str, engines: Mapping[str, Measured], precision: str, how: str) -> Table:
    """Return one model's engines, the fastest first."""
    table = Table(title=f"{model}, {precision}: {how}")
    rival = fastest_rival(engines, precision, "least")
    titles = ("engine", "least, ms", "median, ms", "of fastest rival", "load, ms", "memory, MB", "size, MB", "error")
    for title in titles:
        table.add_column(title, justify="left" if title == "engine" else "right")
    ordered = sorted(engines.items(), key=lambda pair: (pair[1].least_ms is None, pair[1].least_ms or 0.0))
    for name, one in ordered:
        if one.least_ms is None:
            continue
        share = number(one.least_ms / rival[1]) if rival else "–"
        load = number(statistics.median(one.load_ns) / 1e6 if one.load_ns else None)
        mark = " (wrong)" if one.wrong(precision) else " (failed later)" if one.failure else ""
        table.add_row(
            TITLES[name] + mark, number(one.least_ms), number(one.median_ms), share, load,
            number(_mega(one.memory_bytes)), number(_mega(one.size_bytes)),
            "–" if one.error is None else f"{one.error:.1e}",
        )  # fmt: skip
    return table


def summary_table(models: Mapping[str, Mapping[str, Measured]], precision: str, how: str) -> Table:
    """Return the models with our time, the fastest rival's, and the geometric means of the ratios."""
    table = Table(title=f"{precision}: {how}", caption="ratios: our time over the fastest rival's, below 1 is faster")
    titles = ("model", "ours, ms", "fastest rival", "its ms", "ratio", "ratio of medians", "of PyTorch")
    for title in titles:
        table.add_column(title, justify="left" if title in ("model", "fastest rival") else "right")
    for name, engines in models.items():
        ours, rival = engines.get(OURS), fastest_rival(engines, precision, "least")
        eager = engines[PYTORCH].least_ms if PYTORCH in engines else None
        least = None if ours is None else ours.least_ms
        table.add_row(
            name, number(least), "–" if rival is None else TITLES[rival[0]], number(rival[1] if rival else None),
            number(ratio(engines, precision, "least")), number(ratio(engines, precision, "median")),
            number(least / eager if least and eager else None),
        )  # fmt: skip
    means = [geometric_mean(ratio(engines, precision, by) for engines in models.values()) for by in ("least", "median")]
    table.add_row("geometric mean", "", "", "", *(number(mean) for mean in means), "", style="bold")
    return table


def number(value: float | None) -> str:
    """Return three digits of a number, a dash for none."""
    return "–" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _mega(value: int | None) -> float | None:
    return None if value is None else value / 1e6
