"""Define the metrics of a run: the whole latency and its parts, all from the same timed passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.measure.pairs import run_figure

LATENCY, ENCODER, PREFILL, STEP = "latency", "encoder", "prefill", "step"
PARTS = (ENCODER, PREFILL, STEP)
METRICS = (LATENCY, *PARTS)
"""The whole comes first. ``step`` is one decoder step; the others are times per item or batch."""


@dataclass(frozen=True)
class Pass:
    """Hold one timed pass over an item or batch: nanoseconds of the whole, and of each part with its call count."""

    item: str
    total_ns: int
    parts: Mapping[str, tuple[int, int]]

    def figures(self) -> Iterator[tuple[str, float]]:
        """Yield the pass's metrics in nanoseconds, for a part the time of one call. A part without time has none."""
        yield LATENCY, self.total_ns
        for part in PARTS:
            spent, calls = self.parts.get(part, (0, 0))
            if spent > 0:
                yield part, spent / calls


def run_figures(passes: Iterable[Pass]) -> dict[str, float]:
    """Return one run's figure of each metric, in nanoseconds; see :func:`harness.measure.run_figure`.

    Raises ValueError without passes.
    """
    found: dict[str, dict[str, list[float]]] = {metric: defaultdict(list) for metric in METRICS}
    for one in passes:
        for metric, figure in one.figures():
            found[metric][one.item].append(figure)
    whole = run_figure(found.pop(LATENCY))
    return {LATENCY: whole} | {metric: run_figure(by_word) for metric, by_word in found.items() if by_word}


def shares(passes: Iterable[Pass]) -> dict[str, float]:
    """Return each part's fraction of the time of all passes; ``step`` is all steps together."""
    spent = dict.fromkeys(PARTS, 0)
    total = 0
    for one in passes:
        total += one.total_ns
        for part in PARTS:
            spent[part] += one.parts.get(part, (0, 0))[0]
    return {metric: time / total for metric, time in spent.items() if time} if total else {}
