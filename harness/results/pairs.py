"""Compute a run's ratios to PyTorch: from pairs timed alternately, and from the separate times of older runs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.measure import TurnRatio, paired_ratio, run_figure, turn_ratios
from harness.results.schema import ItemRatio, Manifest, PairingFacts, PairLine, RatioSummary
from harness.results.schema.pairs import INTERRUPTED


def by_workload(pairs: Iterable[PairLine]) -> dict[str, list[PairLine]]:
    """Return the lines of each workload, by its name."""
    found: dict[str, list[PairLine]] = defaultdict(list)
    for line in pairs:
        found[line.workload].append(line)
    return dict(found)


def pytorch_times(pairs: Iterable[PairLine]) -> dict[str, list[int]]:
    """Return the time of every call of PyTorch, by item, in nanoseconds."""
    found: dict[str, list[int]] = defaultdict(list)
    for line in pairs:
        found[line.item] += line.pytorch_ns
    return dict(found)


def whole_rounds(pairs: Sequence[PairLine], facts: PairingFacts | None) -> dict[str, list[PairLine]]:
    """Return each item's pairs from the rounds that contain every item. Items with other answers are left out."""
    left_out = {*facts.differing, *facts.wrong} if facts else set()
    rounds: dict[int, dict[str, PairLine]] = defaultdict(dict)
    for line in pairs:
        if line.item not in left_out and line.artifact_ns and line.pytorch_ns:
            rounds[line.round][line.item] = line
    items = list(dict.fromkeys(item for found in rounds.values() for item in found))
    whole = [found for _, found in sorted(rounds.items()) if len(found) == len(items)]
    return {item: [found[item] for found in whole] for item in items} if whole else {}


def in_turns(facts: PairingFacts | None, pairs: Sequence[PairLine]) -> RatioSummary | None:
    """Return the ratio of a workload's pairs; None without a whole round. ``facts`` may be None if a run was killed."""
    table = whole_rounds(pairs, facts)
    if not table:
        return None
    ours = {item: [statistics.median(line.artifact_ns) for line in lines] for item, lines in table.items()}
    theirs = {item: [statistics.median(line.pytorch_ns) for line in lines] for item, lines in table.items()}
    found = turn_ratios(
        {item: [math.log(a / b) for a, b in zip(ours[item], theirs[item], strict=True)] for item in table}
    )
    return RatioSummary(
        items=len(table),
        ratio=found.overall.ratio,
        low=_bounds(found.overall)[0],
        high=_bounds(found.overall)[1],
        paired=True,
        of=facts.of if facts else None,
        rounds=found.rounds,
        artifact=run_figure(ours),
        pytorch=run_figure(theirs),
        by_item={
            item: ItemRatio(
                artifact=statistics.median(ours[item]),
                pytorch=statistics.median(theirs[item]),
                ratio=one.ratio,
                low=_bounds(one)[0],
                high=_bounds(one)[1],
            )
            for item, one in found.by_item.items()
        },
        cores=facts.cores if facts else None,
        others=facts.others if facts else None,
        steal=facts.steal if facts else None,
    )


def timed_apart(expected: Mapping[str, Sequence[int]], taken: Mapping[str, Sequence[int]]) -> RatioSummary | None:
    """Return the ratio of an older run, which timed PyTorch and the artifact apart; None without a common item."""
    if not set(expected) & set(taken):
        return None
    found = paired_ratio(expected, taken)
    interval = found.interval
    return RatioSummary(
        items=found.words,
        ratio=found.ratio,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )


def pairing_reasons(manifest: Manifest) -> list[str]:
    """Return why timing with PyTorch decided nothing. An interruption is not listed; it is reported elsewhere."""
    warnings = []
    for name, facts in manifest.pairing.items():
        reasons = [facts.reason] if facts.reason and facts.reason != INTERRUPTED else []
        warnings += [f"{name}, timed with PyTorch: {reason}" for reason in [*facts.differing.values(), *reasons]]
    return warnings


def _bounds(found: TurnRatio) -> tuple[float | None, float | None]:
    return (None, None) if found.interval is None else (found.interval.low, found.interval.high)
