"""What is measured of a run: the whole latency, and the parts that it is made of, all from the same timed passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.measure.pairs import run_figure

LATENCY, ENCODER, PREFILL, STEP = "latency", "encoder", "prefill", "step"
METRICS = (LATENCY, ENCODER, PREFILL, STEP)
"""The whole first; ``step`` is one decoder step, the others are times per word or batch."""


@dataclass(frozen=True)
class Pass:
    """One timed pass over a word or batch. Nanoseconds; ``steps_ns`` is of all ``steps`` together."""

    item: str
    total_ns: int
    encoder_ns: int
    prefill_ns: int | None
    steps_ns: int
    steps: int

    def figures(self) -> Iterator[tuple[str, float]]:
        """Its metrics in nanoseconds; a part that the model has not, or that took no time at all, has none."""
        yield LATENCY, self.total_ns
        parts = {
            ENCODER: float(self.encoder_ns),
            PREFILL: float(self.prefill_ns or 0),
            STEP: self.steps_ns / self.steps if self.steps else 0.0,
        }
        yield from ((metric, found) for metric, found in parts.items() if found > 0)


def run_figures(passes: Iterable[Pass]) -> dict[str, float]:
    """One run's figure of each metric, in nanoseconds; see :func:`harness.measure.run_figure`.

    Raises ValueError without passes.
    """
    found: dict[str, dict[str, list[float]]] = {metric: defaultdict(list) for metric in METRICS}
    for one in passes:
        for metric, figure in one.figures():
            found[metric][one.item].append(figure)
    whole = run_figure(found.pop(LATENCY))
    return {LATENCY: whole} | {metric: run_figure(by_word) for metric, by_word in found.items() if by_word}


def shares(passes: Iterable[Pass]) -> dict[str, float]:
    """Of the time of all passes, what each part takes: all steps together for ``step``."""
    spent = dict.fromkeys((ENCODER, PREFILL, STEP), 0)
    total = 0
    for one in passes:
        total += one.total_ns
        spent[ENCODER] += one.encoder_ns
        spent[PREFILL] += one.prefill_ns or 0
        spent[STEP] += one.steps_ns
    return {metric: time / total for metric, time in spent.items() if time} if total else {}
