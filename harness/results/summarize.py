"""Make a run's summary from its raw files. An incomplete run is summed up as far as it got."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.devices.base import AnyRecord
from harness.measure import Timing, distribution, rates, run_figure, split
from harness.protocol.schema import Header, Load, Memory, Phase, Sample
from harness.results.answers import generated_answers
from harness.results.pairs import by_workload, in_turns, pairing_reasons, pytorch_times, timed_apart
from harness.results.schema import (
    AccuracySummary,
    ItemLatency,
    LatencySummary,
    Manifest,
    PairLine,
    ParityLine,
    ParitySummary,
    ReferenceLine,
    RunStatus,
    RunVerdict,
    SampleLine,
    Summary,
    WorkloadFacts,
    WorkloadSummary,
)
from harness.results.store import Run
from harness.results.token_rates import with_rates
from harness.results.widening import layers_to_widen
from harness.validate import TolerancePolicy, Verdict, WordAccuracy, accuracy, word_accuracy

ALL = "all"
PYTORCH = "pytorch"
_T = TypeVar("_T")


def summarize_run(run: Run) -> Summary:
    """Return the stored summary, or one made now from the run's files.

    Version 1 counted all comparisons of a tensor workload together, and at first had one median of its items.
    These parts are made again now.
    """
    stored = run.summary()
    if stored is None:
        return summarize_files(run.manifest(), run)
    if stored.schema_version > 1 or not stored.unlike:
        return stored
    again = summarize_files(run.manifest(), run).unlike
    return stored.model_copy(update={"workloads": {**stored.workloads, **again}})


def summarize_files(manifest: Manifest, run: Run) -> Summary:
    """Return a summary made now; ``manifest`` may be newer than the run's file."""
    return summarize(manifest, run.reference(), run.samples(), run.parity(), pairs=run.pairs())


def summarize(
    manifest: Manifest,
    reference: Iterable[ReferenceLine],
    samples: Iterable[SampleLine],
    parity: Iterable[ParityLine],
    *,
    pairs: Iterable[PairLine] = (),
) -> Summary:
    """Sum up the lines of one run."""
    answers, rows = _by(reference, lambda line: line.workload), _by(parity, lambda line: line.workload)
    paired = by_workload(pairs)
    timed = {order.order_id: order.workload for order in manifest.orders if order.purpose == "latency"}
    taken = _by(samples, lambda line: timed.get(line.order, ""))
    found = {
        name: _workload(
            manifest,
            name,
            facts,
            answers.get(name, ()),
            [line.record for line in taken.get(name, ())],
            rows.get(name, ()),
            paired.get(name, ()),
        )
        for name, facts in manifest.workloads.items()
    }
    verdict, reasons = _verdict(manifest, found)
    wide = [
        layer
        for name, one in found.items()
        if _judged(manifest, name, one)[0]
        for layer in layers_to_widen(manifest, name, one)
    ]
    return Summary(verdict=verdict, reasons=reasons, workloads=found, keep_wide=wide)


def _by(lines: Iterable[_T], key: Callable[[_T], str]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = defaultdict(list)
    for line in lines:
        found[key(line)].append(line)
    return found


def _workload(
    manifest: Manifest,
    name: str,
    facts: WorkloadFacts,
    reference: Sequence[ReferenceLine],
    records: Sequence[AnyRecord],
    parity: Sequence[ParityLine],
    pairs: Sequence[PairLine],
) -> WorkloadSummary:
    """Sum up one workload; ``records`` are those of its latency order."""
    by_item = timed(records)
    # Older runs contain PyTorch's times beside its answers.
    apart = {line.item: line.latency_ns for line in reference if line.latency_ns}
    ratio = None
    if not manifest.emulated:
        ratio = in_turns(manifest.pairing.get(name), pairs) or timed_apart(apart, by_item)
    orders = [order for order in manifest.orders if order.purpose == "latency" and order.workload == name]
    firsts = [record.total_ns for record in records if isinstance(record, Sample) and record.phase is Phase.FIRST]
    peaks = [record.peak_bytes for record in records if isinstance(record, Memory) and record.peak_bytes is not None]
    loads = [record.load_ns for record in _of_first_process(records) if isinstance(record, Load)]
    rows = _by(parity, lambda line: line.comparison)
    found = WorkloadSummary(
        kind=facts.kind,
        parity={comparison: parity_summary(lines) for comparison, lines in rows.items()},
        variant=orders[0].variant if orders and by_item else "",
        cold_load=sum(loads) if loads else None,
        first=firsts[0] if firsts else None,
        peak_bytes=max(peaks, default=None),
        ratio=ratio,
    )
    if not facts.way.alike:
        rated = with_rates(item_latencies(by_item), records)
        return found.model_copy(update={"by_item": rated, "answers": generated_answers(parity)})
    lines = {line.item: line for line in reference}
    expected = apart or {item: spent for item, spent in pytorch_times(pairs).items() if item in lines}
    return found.model_copy(
        update={
            "accuracy": _accuracies(lines, rows),
            "pytorch": _pytorch(lines, expected),
            **_generation(by_item, records),
        }
    )


def parity_summary(lines: Sequence[ParityLine]) -> ParitySummary:
    """Sum up the lines of one comparison."""
    by_subset: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for line in lines:
        by_subset[line.subset][line.verdict] += 1
    total = sum(by_subset.values(), Counter[Verdict]())

    def largest(name: str) -> float | None:
        return max((found for line in lines if (found := getattr(line, name)) is not None), default=None)

    return ParitySummary(
        items=len(lines),
        by_verdict={verdict: total[verdict] for verdict in Verdict},
        by_subset={subset: dict(found) for subset, found in sorted(by_subset.items()) if subset},
        max_margin_error=largest("margin_error"),
        max_error=largest("max_error"),
        relative_error=largest("relative_error"),
        **_forced(lines),
        failures=[line.describe() for line in lines if line.verdict.fails],
    )


def _forced(lines: Sequence[ParityLine]) -> dict[str, Any]:
    """Return the figures of items whose every step was compared; a step has the same weight in all of them."""
    fed = [line for line in lines if line.tokens]
    if not fed:
        return {}

    def mean(name: str) -> float | None:
        values = [(getattr(line, name), line.tokens or 0) for line in fed]
        if any(value is None for value, _ in values):
            return None
        return float(sum(value * count for value, count in values) / sum(count for _, count in values))

    def perplexity(name: str) -> float | None:
        found = mean(name)
        return None if found is None else math.exp(-found)

    return {
        "tokens": sum(line.tokens or 0 for line in fed),
        "tokens_equal": sum(line.tokens_equal or 0 for line in fed),
        "perplexity": perplexity("log_probability"),
        "expected_perplexity": perplexity("expected_log_probability"),
        "kl": mean("kl"),
    }


def shortcomings(
    policy: TolerancePolicy,
    parity: ParitySummary,
    got: Mapping[str, AccuracySummary],
    expected: Mapping[str, AccuracySummary],
) -> list[str]:
    """Return why a comparison is not good enough. ``got`` and ``expected`` are the model's and PyTorch's accuracies.

    Three kinds of words are never allowed: those that differ from pass to pass, those with another text for the same
    tokens, and those without an answer.
    """
    broken = sum(parity.by_verdict.get(verdict, 0) for verdict in (Verdict.TEXT, Verdict.UNSTABLE, Verdict.NO_ANSWER))
    if broken:
        return [f"{broken} of {parity.items} words are unstable, have another text or no answer"]
    ours, theirs = got.get(ALL), expected.get(ALL)
    return policy.shortcomings(
        words=parity.items - parity.missing,
        differing=parity.failed,
        per=ours.per if ours else None,
        expected_per=theirs.per if theirs else None,
    )


def _judged(manifest: Manifest, name: str, found: WorkloadSummary) -> tuple[list[str], list[str]]:
    """Return the reasons why a workload fails the run, and the reasons why it is undecided."""
    if found.way.own_rule:
        failed = [f"{name}: {found.failed} of {found.compared} items differ"] if found.failed else []
        missing = [f"{name}: {found.missing} items did not run"] if found.missing else []
        return failed, missing + ([] if found.compared else [f"{name}: nothing was compared"])
    failed = [
        f"{comparison}: {reason}"
        for comparison, one in found.parity.items()
        for reason in shortcomings(
            manifest.policy, one, found.accuracy.get(comparison, {}), found.accuracy.get(PYTORCH, {})
        )
    ]
    unit = manifest.workloads[name].unit
    missing = [f"{who}: {one.missing} {unit}s did not run" for who, one in found.parity.items() if one.missing]
    return failed, missing


def _verdict(manifest: Manifest, workloads: Mapping[str, WorkloadSummary]) -> tuple[RunVerdict, list[str]]:
    """Judge the run and give the reasons. A mismatch among compared items counts even if the run ended early."""
    judged = [_judged(manifest, name, found) for name, found in workloads.items()]
    failures = [reason for failed, _ in judged for reason in failed]
    undecided = [reason for _, missing in judged for reason in missing]
    undecided += pairing_reasons(manifest)
    undecided += [
        f"{order.purpose} order of {order.name}: {order.reason or 'has not ended'}"
        for order in manifest.orders
        if not order.complete
    ]
    if gate := manifest.gate:
        causes = [f"gate against {gate.baseline}: {cause}" for cause in gate.causes]
        failures += causes if gate.verdict == "fail" else []
        undecided += causes if gate.verdict == "inconclusive" else []
    if manifest.status is not RunStatus.COMPLETE and manifest.reason and not undecided:
        undecided.append(manifest.reason)
    if not any(found.compared or found.way.own_rule for found in workloads.values()):
        undecided.append("nothing was compared with PyTorch")
    if failures:
        return RunVerdict.FAIL, failures + undecided
    return (RunVerdict.INCONCLUSIVE, undecided) if undecided else (RunVerdict.PASS, [])


def accuracies(reference: Iterable[ReferenceLine], lines: Iterable[ParityLine]) -> dict[str, AccuracySummary]:
    """Return the accuracies of the runner's answers, by subset and for ``all``; empty without gold pronunciations."""
    texts = {line.item: line.got for line in lines if line.got is not None}
    return _accuracy({line.item: line for line in reference}, texts)


def expected_accuracies(reference: Sequence[ReferenceLine]) -> dict[str, AccuracySummary]:
    """Return the accuracies of PyTorch's answers in the same form."""
    return _accuracy({line.item: line for line in reference}, {line.item: line.text for line in reference})


def _accuracies(
    reference: Mapping[str, ReferenceLine], rows: Mapping[str, Sequence[ParityLine]]
) -> dict[str, dict[str, AccuracySummary]]:
    """Return the accuracies of PyTorch and of each parity comparison.
    Items without gold pronunciations give none. The timed comparison repeats its variant and is left out.
    """
    got = {PYTORCH: {item: line.text for item, line in reference.items()}}
    for comparison, lines in rows.items():
        if lines[0].passes == "parity":
            got[comparison] = {line.item: line.got for line in lines if line.got is not None}
    found = {who: _accuracy(reference, texts) for who, texts in got.items()}
    return {who: by_subset for who, by_subset in found.items() if by_subset}


def _accuracy(reference: Mapping[str, ReferenceLine], texts: Mapping[str, str]) -> dict[str, AccuracySummary]:
    by_subset: dict[str, list[WordAccuracy]] = defaultdict(list)
    for item, text in texts.items():
        line = reference.get(item)
        if line is not None and line.pronunciations:
            scored = word_accuracy(text, line.pronunciations)
            by_subset[line.subset].append(scored)
            by_subset[ALL].append(scored)
    found = {subset: accuracy(scored) for subset, scored in sorted(by_subset.items())}
    return {subset: AccuracySummary(items=total.words, per=total.per, wer=total.wer) for subset, total in found.items()}


def latency_summary(by_item: Mapping[str, Sequence[int]], items: int, tokens: int) -> LatencySummary:
    """Return the latencies of all items; ``items`` and ``tokens`` are the totals over all samples."""
    warm = distribution(by_item)
    speed = rates(sum(sum(samples) for samples in by_item.values()), items, tokens)
    interval = warm.median_interval
    figures = {name: value for name, value in vars(warm).items() if name not in ("median_interval", "words")}
    return LatencySummary(
        **figures,
        items=warm.words,
        median_low=interval.low if interval else None,
        median_high=interval.high if interval else None,
        items_per_second=speed.words_per_second,
        ns_per_token=speed.ns_per_token,
    )


def item_latencies(by_item: Mapping[str, Sequence[int]]) -> dict[str, ItemLatency]:
    """Return the latency of each item alone, because times of different items have no common median."""
    return {
        item: ItemLatency(samples=found.samples, median=found.median, mad=found.mad, min=found.min, max=found.max)
        for item, taken in by_item.items()
        if (found := distribution({item: taken}))
    }


@dataclass(frozen=True)
class Figures:
    """Hold a workload's latency for a table of benchmarks: samples in nanoseconds, and figures by name."""

    samples: list[float]
    named: dict[str, float]


def figures_of(by_item: Mapping[str, Sequence[int]], *, alike: bool) -> Figures:
    """Return all samples of alike items with their distribution.

    Different items have no common distribution: for these each pass is one sample, and each item has its median.
    """
    if not by_item:
        return Figures([], {})
    if not alike:
        medians = {f"{item}.median_ns": found.median for item, found in item_latencies(by_item).items()}
        return Figures(pass_figures(by_item), medians)
    found = distribution(by_item)
    samples = [float(sample) for taken in by_item.values() for sample in taken]
    return Figures(samples, {"median_ns": found.median, "p95_ns": found.p95, "words": found.words})


def pass_figures(by_item: Mapping[str, Sequence[int]]) -> list[float]:
    """Return the geometric mean over the items for every pass that all items have, in nanoseconds.
    This describes a pass of a workload by one number, in which each item weighs alike.
    """
    if not by_item:
        return []
    passes = min(len(taken) for taken in by_item.values())
    return [run_figure({item: [taken[at]] for item, taken in by_item.items()}) for at in range(passes)]


def _pytorch(reference: Mapping[str, ReferenceLine], expected: Mapping[str, Sequence[int]]) -> LatencySummary | None:
    if not expected:
        return None
    tokens = sum(len(reference[item].token_ids) * len(samples) for item, samples in expected.items())
    return latency_summary(expected, sum(len(samples) for samples in expected.values()), tokens)


def timing(sample: Sample) -> Timing:
    """Return a generation's sample with the parts of its time."""
    return Timing(
        item=" ".join(sample.items),
        total_ns=sample.total_ns,
        encoder_ns=sample.part_ns("encoder"),
        prefill_ns=sample.part_ns("prefill") if "prefill" in sample.parts else None,
        step_ns=sample.part_ns("step"),
        tokens=sum(len(output.token_ids) for output in sample.outputs),
        words=len(sample.items),
    )


def timed(records: Iterable[object]) -> dict[str, list[int]]:
    """Return the timed samples by item, or by batch, in nanoseconds."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED:
            found[" ".join(record.items)].append(record.total_ns)
    return dict(found)


def timed_samples(manifest: Manifest, samples: Iterable[SampleLine], workload: str) -> dict[str, list[int]]:
    """Return the timed samples of a workload's latency orders in the same form."""
    latency = {o.order_id for o in manifest.orders if o.purpose == "latency" and o.workload == workload}
    return timed(line.record for line in samples if line.order in latency)


def _generation(by_item: Mapping[str, Sequence[int]], records: Sequence[AnyRecord]) -> dict[str, object]:
    """Return the further times of a generation: one distribution over its items, and the parts."""
    if not by_item:
        return {}
    timings = [timing(record) for record in records if isinstance(record, Sample) and record.phase is Phase.TIMED]
    parts = split(timings)
    named = {"encoder": parts.encoder, "prefill": parts.prefill, "step": parts.steps, "other": parts.other}
    return {
        "warm": latency_summary(by_item, sum(t.words for t in timings), sum(t.tokens for t in timings)),
        "parts": {name: spent for name, spent in named.items() if spent is not None},
    }


def _of_first_process(records: Sequence[AnyRecord]) -> list[AnyRecord]:
    """Return the records without those of a second process, which continues after the device was lost."""
    headers = [at for at, record in enumerate(records) if isinstance(record, Header)]
    return list(records[: headers[1]] if len(headers) > 1 else records)
