"""The table of all cells: run × variant × metric, with numbers that can be sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.report.html.views import View
from harness.results.schema import ArtifactLatency, LatencySummary

PYTORCH = "PyTorch"


@dataclass(frozen=True)
class Cell:
    run: str
    device: str
    variant: str
    metric: str
    unit: str
    value: float | None
    text: str
    label: str = ""
    """``emulated`` for a time or a memory of an emulator's; the cause of a night's verdict."""
    verdict: str = ""
    low: float | None = None
    """Of the 95 % interval, in the unit of the value."""
    high: float | None = None
    detectable: float | None = None
    """The change that would have been found."""


def cells(view: View) -> Iterator[Cell]:
    """Every figure of a run, in the order of the report."""
    summary = view.summary
    for comparison, parity in summary.parity.items():
        yield _cell(view, comparison, "words compared", "", parity.words)
        for verdict, count in parity.by_verdict.items():
            yield _cell(view, comparison, f"words {verdict.value}", "", count)
        if parity.max_margin_error is not None:
            yield _cell(view, comparison, "max margin error", "", parity.max_margin_error, digits=3)
    for who, languages in summary.accuracy.items():
        name = PYTORCH if who == "pytorch" else who
        for language, said in languages.items():
            yield _cell(view, name, f"PER {language}", "", said.per, places=3)
            yield _cell(view, name, f"WER {language}", "", said.wer, places=3)
    if summary.artifact:
        yield from _artifact(view, summary.artifact)
    if summary.pytorch:
        yield from _latency(view, PYTORCH, summary.pytorch, emulated=False)
    if summary.ratio and summary.artifact:
        found = summary.ratio
        ratio = _cell(view, summary.artifact.variant, "time ÷ PyTorch's", "×", found.ratio, places=3)
        yield replace(ratio, low=found.low, high=found.high)
    for name, facts in view.manifest.variants.items():
        yield _cell(view, name, "archive", "MB", facts.archive_bytes / 1e6, places=1)
        yield _cell(view, name, "runner", "MB", facts.runner_bytes / 1e6, places=1)


def _artifact(view: View, artifact: ArtifactLatency) -> Iterator[Cell]:
    emulated = view.emulated
    yield from _latency(view, artifact.variant, artifact.warm, emulated=emulated)
    for metric, value in (
        ("cold load", artifact.cold_load),
        ("first word", artifact.first),
        ("encoder", artifact.encoder),
        ("prefill", artifact.prefill),
        ("steps", artifact.steps),
        ("outside the calls", artifact.other),
    ):
        if value is not None:
            yield _cell(view, artifact.variant, metric, "ms", value / 1e6, places=3, emulated=emulated)
    if artifact.peak_bytes is not None:
        peak = artifact.peak_bytes / 1e6
        yield _cell(view, artifact.variant, "peak memory", "MB", peak, places=1, emulated=emulated)


def _latency(view: View, variant: str, warm: LatencySummary, *, emulated: bool) -> Iterator[Cell]:
    yield _cell(view, variant, "warm samples", "", warm.samples, emulated=emulated)
    low, high = (None if bound is None else bound / 1e6 for bound in (warm.median_low, warm.median_high))
    median = _cell(view, variant, "median per word", "ms", warm.median / 1e6, places=3, emulated=emulated)
    yield replace(median, low=low, high=high)
    for metric, value in (
        ("p90", warm.p90),
        ("p95", warm.p95),
        ("p99", warm.p99),
        ("MAD", warm.mad),
        ("min", warm.min),
        ("max", warm.max),
        ("mean", warm.mean),
        ("per output token", warm.ns_per_token),
    ):
        yield _cell(view, variant, metric, "ms", value / 1e6, places=3, emulated=emulated)
    yield _cell(view, variant, "words per second", "1/s", warm.words_per_second, places=1, emulated=emulated)


def _cell(
    view: View,
    variant: str,
    metric: str,
    unit: str,
    value: float,
    *,
    places: int = 0,
    digits: int | None = None,
    emulated: bool = False,
) -> Cell:
    text = f"{value:.{digits}g}" if digits else f"{value:.{places}f}"
    device = str(view.manifest.device.get("name", "?"))
    return Cell(view.name, device, variant, metric, unit, value, text, "emulated" if emulated else "")
