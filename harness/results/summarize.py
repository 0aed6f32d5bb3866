"""From the raw files of a run to its summary; works on what there is of an incomplete run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.devices.base import AnyRecord
from harness.measure import Timing, distribution, rates, split
from harness.protocol.schema import Header, Load, Memory, Phase, Sample
from harness.results.models import summarize_models, verdict_reasons
from harness.results.pairs import by_model, in_turns, pairing_reasons, pytorch_times, timed_apart
from harness.results.schema import (
    AccuracySummary,
    ArtifactLatency,
    LatencySummary,
    Manifest,
    ModelParityLine,
    ModelReferenceLine,
    ModelSummary,
    PairingFacts,
    PairLine,
    ParityLine,
    ParitySummary,
    ReferenceLine,
    RunStatus,
    RunVerdict,
    SampleLine,
    Summary,
)
from harness.results.store import Run
from harness.validate import Allowance, Verdict, WordAccuracy, WordParity, accuracy, word_accuracy

ALL = "all"
PYTORCH = "pytorch"


def summarize_run(run: Run) -> Summary:
    """The stored summary, or one made now from what the run left behind.

    Summaries of before had unlike items of a model in one median; then its items are summed up now.
    """
    stored = run.summary()
    if stored is None:
        return summarize_files(run.manifest(), run)
    if all(found.by_item or found.artifact is None for found in stored.models.values()):
        return stored
    return stored.model_copy(update={"models": summarize_files(run.manifest(), run).models})


def summarize_files(manifest: Manifest, run: Run) -> Summary:
    """A summary made now; ``manifest`` may know more of the run's end than its file."""
    models = (run.model_reference(), run.model_parity()) if manifest.models else None
    return summarize(manifest, run.reference(), run.samples(), run.parity(), models=models, pairs=run.pairs())


def summarize(
    manifest: Manifest,
    reference: Iterable[ReferenceLine],
    samples: Iterable[SampleLine],
    parity: Iterable[ParityLine],
    *,
    models: tuple[Iterable[ModelReferenceLine], Iterable[ModelParityLine]] | None = None,
    pairs: Iterable[PairLine] = (),
) -> Summary:
    """Sum up the lines of one run; ``models`` are those of its models of tensors, ``pairs`` of all of them."""
    words = {line.item: line for line in reference}
    rows: dict[str, list[ParityLine]] = defaultdict(list)
    for line in parity:
        rows[line.comparison].append(line)
    summaries = {comparison: parity_summary(lines) for comparison, lines in rows.items()}
    lines = list(samples)
    artifact, by_item = _artifact(manifest, lines)
    paired = by_model(pairs)
    of_words = [line for model, own in paired.items() if model not in manifest.models for line in own]
    # Runs of before have PyTorch's times beside its answers.
    apart = {item: line.latency_ns for item, line in words.items() if line.latency_ns}
    expected = apart or {item: taken for item, taken in pytorch_times(of_words).items() if item in words}
    accuracy = _accuracies(words, rows)
    found = summarize_models(manifest, models[0], lines, models[1], paired) if models else {}
    verdict, reasons = _verdict(manifest, summaries, accuracy, found)
    return Summary(
        verdict=verdict,
        reasons=reasons,
        parity=summaries,
        accuracy=accuracy,
        artifact=artifact,
        pytorch=_pytorch(words, expected),
        ratio=None if manifest.emulated else in_turns(_of_words(manifest), of_words) or timed_apart(apart, by_item),
        models=found,
    )


def _of_words(manifest: Manifest) -> PairingFacts | None:
    return next((facts for model, facts in manifest.pairing.items() if model not in manifest.models), None)


def parity_line(comparison: str, row: WordParity) -> ParityLine:
    return ParityLine.model_validate({"comparison": comparison, **vars(row)})


def parity_summary(lines: Sequence[ParityLine]) -> ParitySummary:
    by_language: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for line in lines:
        by_language[line.language][line.verdict] += 1
    total = sum(by_language.values(), Counter[Verdict]())
    errors = [line.margin_error for line in lines if line.margin_error is not None]
    return ParitySummary(
        words=len(lines),
        by_verdict={verdict: total[verdict] for verdict in Verdict},
        by_language={language: dict(found) for language, found in sorted(by_language.items())},
        max_margin_error=max(errors, default=None),
        failures=[word_parity(line).describe() for line in lines if line.verdict.fails],
    )


def word_parity(line: ParityLine) -> WordParity:
    return WordParity(**line.model_dump(exclude={"comparison"}))


def shortcomings(
    allowance: Allowance,
    parity: ParitySummary,
    said: Mapping[str, AccuracySummary],
    expected: Mapping[str, AccuracySummary],
) -> list[str]:
    """Why one comparison is not good enough. ``said`` and ``expected`` are the model's and PyTorch's accuracies.

    Words that came out differently from pass to pass, with another text for the same tokens or not at all, are never
    allowed.
    """
    broken = sum(parity.by_verdict.get(verdict, 0) for verdict in (Verdict.TEXT, Verdict.UNSTABLE, Verdict.NO_ANSWER))
    if broken:
        return [f"{broken} of {parity.words} words are unstable, have another text or no answer"]
    ours, theirs = said.get(ALL), expected.get(ALL)
    return allowance.shortcomings(
        words=parity.words - parity.missing,
        differing=parity.failed,
        per=ours.per if ours else None,
        expected_per=theirs.per if theirs else None,
    )


def _verdict(
    manifest: Manifest,
    parity: Mapping[str, ParitySummary],
    accuracy: Mapping[str, Mapping[str, AccuracySummary]],
    models: Mapping[str, ModelSummary],
) -> tuple[RunVerdict, list[str]]:
    """A mismatch is proven by the words that were compared, even if the run ended early."""
    failures = [
        f"{name}: {reason}"
        for name, found in parity.items()
        for reason in shortcomings(manifest.allowance, found, accuracy.get(name, {}), accuracy.get(PYTORCH, {}))
    ]
    differing, absent = verdict_reasons(models)
    failures += differing
    undecided = [f"{name}: {found.missing} words did not run" for name, found in parity.items() if found.missing]
    undecided += absent
    undecided += pairing_reasons(manifest)
    undecided += [
        f"{order.purpose} order of {order.variant}: {order.reason or 'has not ended'}"
        for order in manifest.orders
        if not order.complete
    ]
    if gate := manifest.gate:
        told = [f"gate against {gate.baseline}: {cause}" for cause in gate.causes]
        failures += told if gate.verdict == "fail" else []
        undecided += told if gate.verdict == "inconclusive" else []
    if manifest.status is not RunStatus.COMPLETE and manifest.reason and not undecided:
        undecided.append(manifest.reason)
    if not parity and not models:
        undecided.append("nothing was compared with PyTorch")
    if failures:
        return RunVerdict.FAIL, failures + undecided
    return (RunVerdict.INCONCLUSIVE, undecided) if undecided else (RunVerdict.PASS, [])


def accuracies(reference: Iterable[ReferenceLine], lines: Iterable[ParityLine]) -> dict[str, AccuracySummary]:
    """Of what the runner said, by language and for ``all``; empty without gold pronunciations."""
    texts = {line.item: line.got for line in lines if line.got is not None}
    return _accuracy({line.item: line for line in reference}, texts)


def expected_accuracies(reference: Sequence[ReferenceLine]) -> dict[str, AccuracySummary]:
    """The same of what PyTorch said."""
    return _accuracy({line.item: line for line in reference}, {line.item: line.text for line in reference})


def _accuracies(
    words: Mapping[str, ReferenceLine], rows: Mapping[str, Sequence[ParityLine]]
) -> dict[str, dict[str, AccuracySummary]]:
    """Nothing for words without gold; the timed comparison repeats its variant and is left out."""
    said = {PYTORCH: {item: line.text for item, line in words.items()}}
    for comparison, lines in rows.items():
        if "," not in comparison:
            said[comparison] = {line.item: line.got for line in lines if line.got is not None}
    found = {who: _accuracy(words, texts) for who, texts in said.items()}
    return {who: by_language for who, by_language in found.items() if by_language}


def _accuracy(words: Mapping[str, ReferenceLine], texts: Mapping[str, str]) -> dict[str, AccuracySummary]:
    by_language: dict[str, list[WordAccuracy]] = defaultdict(list)
    for item, text in texts.items():
        line = words.get(item)
        if line is not None and line.pronunciations:
            scored = word_accuracy(text, line.pronunciations)
            by_language[line.language].append(scored)
            by_language[ALL].append(scored)
    found = {language: accuracy(scored) for language, scored in sorted(by_language.items())}
    return {
        language: AccuracySummary(words=total.words, per=total.per, wer=total.wer) for language, total in found.items()
    }


def latency_summary(by_item: Mapping[str, Sequence[int]], words: int, tokens: int) -> LatencySummary:
    """``words`` and ``tokens`` are those of all samples together."""
    warm = distribution(by_item)
    speed = rates(sum(sum(samples) for samples in by_item.values()), words, tokens)
    interval = warm.median_interval
    figures = {name: value for name, value in vars(warm).items() if name != "median_interval"}
    return LatencySummary(
        **figures,
        median_low=interval.low if interval else None,
        median_high=interval.high if interval else None,
        words_per_second=speed.words_per_second,
        ns_per_token=speed.ns_per_token,
    )


def _pytorch(words: Mapping[str, ReferenceLine], expected: Mapping[str, Sequence[int]]) -> LatencySummary | None:
    if not expected:
        return None
    tokens = sum(len(words[item].token_ids) * len(samples) for item, samples in expected.items())
    return latency_summary(expected, sum(len(samples) for samples in expected.values()), tokens)


def timing(sample: Sample) -> Timing:
    return Timing(
        item=" ".join(sample.items),
        total_ns=sample.total_ns,
        encoder_ns=sample.encoder_ns,
        prefill_ns=sample.prefill_ns,
        step_ns=sum(sample.step_ns),
        tokens=sum(len(output.token_ids) for output in sample.outputs),
        words=len(sample.items),
    )


def timed_samples(manifest: Manifest, samples: Iterable[SampleLine]) -> dict[str, list[int]]:
    """The warm samples of the latency orders by item, or by batch, in nanoseconds."""
    latency = _timed_orders(manifest)
    by_item: dict[str, list[int]] = defaultdict(list)
    for line in samples:
        if line.order in latency and isinstance(line.record, Sample) and line.record.phase is Phase.TIMED:
            by_item[" ".join(line.record.items)].append(line.record.total_ns)
    return dict(by_item)


def _timed_orders(manifest: Manifest) -> dict[str, str]:
    """Of words: variants by order."""
    return {
        order.order_id: order.variant
        for order in manifest.orders
        if order.purpose == "latency" and order.variant not in manifest.models
    }


def _artifact(manifest: Manifest, samples: Sequence[SampleLine]) -> tuple[ArtifactLatency | None, dict[str, list[int]]]:
    by_item = timed_samples(manifest, samples)
    if not by_item:
        return None, {}
    orders = _timed_orders(manifest)
    records = [line.record for line in samples if line.order in orders]
    timings = [timing(record) for record in records if isinstance(record, Sample) and record.phase is Phase.TIMED]
    parts = split(timings)
    peaks = [record.peak_bytes for record in records if isinstance(record, Memory) and record.peak_bytes is not None]
    firsts = [record.total_ns for record in records if isinstance(record, Sample) and record.phase is Phase.FIRST]
    return (
        ArtifactLatency(
            variant=next(iter(orders.values())),
            warm=latency_summary(by_item, sum(t.words for t in timings), sum(t.tokens for t in timings)),
            cold_load=sum(record.load_ns for record in _of_first_process(records) if isinstance(record, Load)),
            first=firsts[0] if firsts else None,
            encoder=parts.encoder,
            prefill=parts.prefill,
            steps=parts.steps,
            other=parts.other,
            peak_bytes=max(peaks, default=None),
        ),
        by_item,
    )


def _of_first_process(records: Sequence[AnyRecord]) -> list[AnyRecord]:
    """Without what a second process wrote, which went on after the device had been lost."""
    headers = [at for at, record in enumerate(records) if isinstance(record, Header)]
    return list(records[: headers[1]] if len(headers) > 1 else records)
