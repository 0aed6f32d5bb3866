"""The part of a summary that is about models of tensors: one of each, from the run's raw files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.measure import distribution, paired_ratio
from harness.protocol import Load, Memory, Phase, Sample
from harness.results.schema import (
    Manifest,
    ModelLatency,
    ModelParityLine,
    ModelReferenceLine,
    ModelSummary,
    RatioSummary,
    SampleLine,
)
from harness.validate import Verdict
from harness.validate.tensors import ItemParity


def summarize_models(
    manifest: Manifest,
    reference: Iterable[ModelReferenceLine],
    samples: Sequence[SampleLine],
    parity: Iterable[ModelParityLine],
) -> dict[str, ModelSummary]:
    """By name, in the order of the manifest; a model that nothing is known of has a summary, too."""
    expected: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for line in reference:
        if line.latency_ns:
            expected[line.model][line.item] = line.latency_ns
    rows: dict[str, list[ModelParityLine]] = defaultdict(list)
    for row in parity:
        rows[row.model].append(row)
    return {name: _summary(manifest, name, expected.get(name, {}), samples, rows[name]) for name in manifest.models}


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


def model_latency(by_item: Mapping[str, Sequence[int]]) -> ModelLatency:
    found = distribution(by_item)
    interval = found.median_interval
    figures = {key: value for key, value in vars(found).items() if key not in ("words", "median_interval")}
    return ModelLatency(
        **figures,
        items=found.words,
        median_low=interval.low if interval else None,
        median_high=interval.high if interval else None,
    )


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
        artifact=model_latency(taken) if taken else None,
        cold_load=loads[0] if loads else None,
        first=firsts[0] if firsts else None,
        peak_bytes=max(peaks, default=None),
        pytorch=model_latency(expected) if expected else None,
        ratio=None if manifest.emulated else _ratio(expected, taken),
    )


def _ratio(expected: Mapping[str, Sequence[int]], taken: Mapping[str, Sequence[int]]) -> RatioSummary | None:
    if not set(expected) & set(taken):
        return None
    found = paired_ratio(expected, taken)
    interval = found.interval
    return RatioSummary(
        words=found.words,
        ratio=found.ratio,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )
