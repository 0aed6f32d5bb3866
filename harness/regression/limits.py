"""Judge what needs no statistics in a nightly run: parity, memory, sizes, and a candidate that does not run."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measure import GateVerdict, Growth, judge_growth, memory_growth, size_growth
from harness.protocol.schema import Output
from harness.protocol.tensors import decode
from harness.results.journal import Journal, RunLine, UnitPlan
from harness.validate import Decoded, Verdict, compare_decodings
from harness.validate.tensors import compare_item


@dataclass(frozen=True)
class LimitVerdict:
    """Hold the verdict about one limit. ``growth`` is None if the metric is no quantity."""

    metric: str
    verdict: GateVerdict
    cause: str
    growth: Growth | None = None


def judge_limits(unit: UnitPlan, journal: Journal, *, sizes: bool = True) -> tuple[LimitVerdict, ...]:
    """Judge the limits of a unit from the journal so far; ``sizes`` adds the sizes of its runners and archives."""
    if broken := journal.broken.get(unit.name):
        return (LimitVerdict("runs at all", GateVerdict.FAIL, broken),)
    growths = []
    if sizes:
        growths.append(size_growth("runner size", unit.a.runner_bytes, unit.b.runner_bytes))
        growths.append(size_growth("archive size", unit.a.archive_bytes, unit.b.archive_bytes))
    pairs = journal.all_pairs(unit.name)
    peaks = [[line.peak_bytes for line in side if line.peak_bytes is not None] for side in zip(*pairs, strict=True)]
    memory = memory_growth(*peaks) if peaks else None
    growths += [memory] if memory else []
    limits = [LimitVerdict(growth.metric, *judge_growth(growth), growth) for growth in growths]
    compare = _parity if unit.comparison is None else _tensor_parity
    return (*limits, *([compare(unit, *pairs[0])] if pairs else []))


def _tensor_parity(unit: UnitPlan, a: RunLine, b: RunLine) -> LimitVerdict:
    """Compare the candidate's answers with the baseline's, by the model's own comparison."""
    assert unit.comparison is not None
    rows = [
        compare_item(
            unit.model, item, unit.comparison, decode(answer), decode(b.answers[item]), digests=b.digests.get(item, [])
        )
        for item, answer in a.answers.items()
        if item in b.answers
    ]
    wrong = [row for row in rows if row.verdict.fails]
    if not rows:
        return LimitVerdict("parity", GateVerdict.INCONCLUSIVE, "no item was run by both")
    if not wrong:
        return LimitVerdict("parity", GateVerdict.PASS, "")
    cause = f"{len(wrong)} of {len(rows)} answers differ; first {wrong[0].item!r}: {wrong[0].detail}"
    return LimitVerdict("parity", GateVerdict.FAIL, cause)


def _parity(unit: UnitPlan, a: RunLine, b: RunLine) -> LimitVerdict:
    """Compare the candidate's tokens with the baseline's word by word, within the unit's tolerance policy."""
    items = {item.id: item for item in unit.a.order.items}
    rows = [
        compare_decodings(items[item], _expected(answer), list(map(_decoded, b.outputs[item])))
        for item, answer in a.outputs.items()
        if item in b.outputs and item in items
    ]
    wrong = [row for row in rows if row.verdict.fails and row.verdict is not Verdict.MISSING]
    short = unit.policy.shortcomings(words=len(rows), differing=len(wrong), per=None, expected_per=None)
    if not rows:
        return LimitVerdict("parity", GateVerdict.INCONCLUSIVE, "no word was run by both")
    if not short:
        return LimitVerdict("parity", GateVerdict.PASS, "")
    first = f"; first {items[wrong[0].item].label!r}: {wrong[0].expected!r} became {wrong[0].got!r}" if wrong else ""
    return LimitVerdict("parity", GateVerdict.FAIL, f"{short[0]}{first}")


def _expected(outputs: list[Output]) -> Decoded:
    """Return the first output with margins if there is one, since margins excuse a tie; else the first output."""
    return next((found for found in map(_decoded, outputs) if found.margins is not None), _decoded(outputs[0]))


def _decoded(output: Output) -> Decoded:
    margins = None if output.margins is None else tuple(output.margins)
    return Decoded(tuple(output.token_ids), output.text, margins)
