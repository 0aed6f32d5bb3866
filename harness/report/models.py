"""The part of a report that is about models of tensors: parity by each model's own comparison, and latency."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, margin, megabytes, ratio
from harness.results.schema import Manifest, ModelLatency, ModelSummary, RatioSummary, Summary
from harness.validate import Verdict

MOST_FAILURES = 20
SHOWN = (Verdict.EQUAL, Verdict.TIE, Verdict.MISMATCH, Verdict.UNSTABLE, Verdict.MISSING)


def models_text(summary: Summary, *, emulated: bool) -> list[str]:
    """For the verdict's line: how many answers agree, and each model's latency."""
    if not summary.models:
        return []
    agreed = sum(
        found.by_verdict.get(Verdict.EQUAL, 0) + found.by_verdict.get(Verdict.TIE, 0)
        for found in summary.models.values()
    )
    compared = sum(found.items for found in summary.models.values())
    models = "1 model" if len(summary.models) == 1 else f"{len(summary.models)} models"
    parts = [f"{agreed} of {compared} answers of {models} agree"]
    for name, found in summary.models.items():
        if found.artifact:
            label = ", emulated" if emulated else ""
            share = f" ({_ratio(found.ratio)} of PyTorch's)" if found.ratio else ""
            parts.append(f"{name} {duration(found.artifact.median)}{label}{share}")
    return parts


def models_report(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Nothing for a run without models of tensors."""
    if not summary.models:
        return
    yield Heading("Models")
    if manifest.emulated:
        yield Line("An emulator's times say nothing about a phone, and are compared with nothing.", Tone.UNSURE)
    yield Table(
        ["model", "answers", *(verdict.value for verdict in SHOWN), "max error", "of the largest", "compared"],
        [_parity_row(manifest, name, found) for name, found in summary.models.items()],
        note="Answers of the parity order and of the timed passes. The error is the largest difference of any "
        "output from PyTorch's, and its share of that output's largest magnitude, whatever is compared.",
    )
    for name, found in summary.models.items():
        for failure in found.failures[:MOST_FAILURES]:
            yield Line(failure, Tone.BAD)
        if len(found.failures) > MOST_FAILURES:
            yield Line(f"{name}: and {len(found.failures) - MOST_FAILURES} more, see model_parity.jsonl", Tone.BAD)
    label = "median (emulated)" if manifest.emulated else "median"
    yield Table(
        ["model", label, "p95", "cold load", "first", "peak memory", "PyTorch", "ratio"],
        [_latency_row(name, found) for name, found in summary.models.items()],
        note="One call with the inputs at hand; both sides' warm samples, none is dropped. The ratio is the median of "
        "the items' own ratios, in brackets a bootstrap 95 % interval over items.",
    )


def _parity_row(manifest: Manifest, name: str, found: ModelSummary) -> list[str]:
    facts = manifest.models.get(name)
    counts = [str(found.by_verdict.get(verdict, 0)) for verdict in SHOWN]
    errors = [margin(found.max_error), margin(found.relative_error)]
    return [name, str(found.items), *counts, *errors, facts.compare if facts else DASH]


def _latency_row(name: str, found: ModelSummary) -> list[str]:
    ours, theirs = found.artifact, found.pytorch
    return [
        name,
        _median(ours),
        duration(ours.p95 if ours else None),
        duration(found.cold_load),
        duration(found.first),
        megabytes(found.peak_bytes),
        duration(theirs.median if theirs else None),
        _ratio(found.ratio),
    ]


def _median(side: ModelLatency | None) -> str:
    if side is None:
        return DASH
    bounds = (side.median_low, side.median_high)
    return duration(side.median) + ("" if None in bounds else f" [{', '.join(duration(bound) for bound in bounds)}]")


def _ratio(found: RatioSummary | None) -> str:
    return DASH if found is None else ratio(found.ratio, found.low, found.high)


def shared_models(a: Summary, b: Summary) -> list[str]:
    """The models that both runs compared or timed."""
    return [name for name in a.models if name in b.models]


def models_comparison(a: Summary, b: Summary, names: tuple[str, str], *, emulated: bool) -> Iterator[Block]:
    """Shared models of two runs, whose sides are called ``names``."""
    shared = shared_models(a, b)
    if not shared:
        return
    yield Heading("Models")
    rows = []
    for name in shared:
        one, other = a.models[name], b.models[name]
        timed = one.artifact is not None and other.artifact is not None and not emulated
        change = (
            ratio(other.artifact.median / one.artifact.median) if timed and one.artifact and other.artifact else DASH
        )
        sides = [cell for side in (one, other) for cell in (_agreeing(side), _median(side.artifact))]
        rows.append([name, *sides, change])
    header = ["model", *(f"{name} {what}" for name in names for what in ("agree", "median"))]
    yield Table(
        [*header, "ratio"], rows, note="The ratio is of the two medians. Two single runs differ by a few percent."
    )


def _agreeing(found: ModelSummary) -> str:
    agreed = found.by_verdict.get(Verdict.EQUAL, 0) + found.by_verdict.get(Verdict.TIE, 0)
    return f"{agreed} of {found.items}"
