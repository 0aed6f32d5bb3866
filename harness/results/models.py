"""The part of a summary that is about models of tensors: one of each, from the run's raw files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.measure import distribution, run_figure
from harness.protocol.schema import Load, Memory, Phase, Sample
from harness.results.pairs import in_turns, timed_apart
from harness.results.schema import (
    ItemLatency,
    Manifest,
    ModelParityLine,
    ModelReferenceLine,
    ModelSummary,
    PairLine,
    SampleLine,
)
from harness.validate import Verdict
from harness.validate.tensors import ItemParity


def summarize_models(
    manifest: Manifest,
    reference: Iterable[ModelReferenceLine],
    samples: Sequence[SampleLine],
    parity: Iterable[ModelParityLine],
    pairs: Mapping[str, Sequence[PairLine]],
) -> dict[str, ModelSummary]:
    """By name, in the order of the manifest; a model that nothing is known of has a summary, too."""
    expected: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for line in reference:
        if line.latency_ns:
            expected[line.model][line.item] = line.latency_ns
    rows: dict[str, list[ModelParityLine]] = defaultdict(list)
    for row in parity:
        rows[row.model].append(row)
    return {
        name: _summary(manifest, name, expected.get(name, {}), samples, rows[name], pairs.get(name, ()))
        for name in manifest.models
    }


def item_parity(line: ModelParityLine) -> ItemParity:
    return ItemParity(**line.model_dump(exclude={"comparison"}))


def model_lines(comparison: str, rows: Iterable[ItemParity]) -> list[ModelParityLine]:
    return [ModelParityLine.model_validate({"comparison": comparison, **vars(row)}) for row in rows]


def failures(lines: Iterable[ModelParityLine]) -> list[str]:
    """One line for each failing item of each comparison."""
    return [f"{line.comparison}: {item_parity(line).describe()}" for line in lines if line.verdict.fails]


def timed(records: Iterable[object]) -> dict[str, list[int]]:
    """The timed samples by item, in nanoseconds."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED:
            found[" ".join(record.items)].append(record.total_ns)
    return dict(found)


def item_latencies(by_item: Mapping[str, Sequence[int]]) -> dict[str, ItemLatency]:
    """Every item for itself: times of unlike items have no common median."""
    return {
        item: ItemLatency(samples=found.samples, median=found.median, mad=found.mad, min=found.min, max=found.max)
        for item, taken in by_item.items()
        if (found := distribution({item: taken}))
    }


def pass_figures(by_item: Mapping[str, Sequence[int]]) -> list[float]:
    """The geometric mean over the items of every pass, in nanoseconds: a pass of a model in one number, in which each
    item weighs alike. Of the passes that all items have."""
    if not by_item:
        return []
    passes = min(len(taken) for taken in by_item.values())
    return [run_figure({item: [taken[at]] for item, taken in by_item.items()}) for at in range(passes)]


def verdict_reasons(models: Mapping[str, ModelSummary]) -> tuple[list[str], list[str]]:
    """Why the run fails, and what is undecided, because of models."""
    failed = [f"{name}: {found.failed} of {found.items} items differ" for name, found in models.items() if found.failed]
    missing = [f"{name}: {found.missing} items did not run" for name, found in models.items() if found.missing]
    missing += [f"{name}: nothing was compared" for name, found in models.items() if not found.items]
    return failed, missing


def _summary(
    manifest: Manifest,
    name: str,
    expected: Mapping[str, Sequence[int]],
    samples: Sequence[SampleLine],
    rows: Sequence[ModelParityLine],
    pairs: Sequence[PairLine],
) -> ModelSummary:
    orders = {o.order_id for o in manifest.orders if o.purpose == "latency" and o.variant == name}
    records = [line.record for line in samples if line.order in orders]
    taken = timed(records)
    loads = [record.load_ns for record in records if isinstance(record, Load)]
    firsts = [record.total_ns for record in records if isinstance(record, Sample) and record.phase is Phase.FIRST]
    peaks = [record.peak_bytes for record in records if isinstance(record, Memory) and record.peak_bytes is not None]
    counts = Counter(row.verdict for row in rows)
    return ModelSummary(
        items=len(rows),
        by_verdict={verdict: counts[verdict] for verdict in Verdict},
        failures=failures(rows),
        max_error=max((row.max_error for row in rows if row.max_error is not None), default=None),
        relative_error=max((row.relative_error for row in rows if row.relative_error is not None), default=None),
        by_item=item_latencies(taken),
        cold_load=loads[0] if loads else None,
        first=firsts[0] if firsts else None,
        peak_bytes=max(peaks, default=None),
        ratio=None
        if manifest.emulated
        else in_turns(manifest.pairing.get(name), pairs) or timed_apart(expected, taken),
    )
