"""The table of all cells: run × variant × metric, with numbers that can be sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.models.sources import G2P
from harness.report.html.views import View
from harness.report.models import SHOWN
from harness.results.pair_schema import APART, INCONCLUSIVE
from harness.results.schema import ArtifactLatency, ItemRatio, LatencySummary, ModelSummary, RatioSummary

PYTORCH = "PyTorch"


@dataclass(frozen=True)
class Cell:
    run: str
    device: str
    variant: str
    """Of G2P, or a model of tensors, or PyTorch."""
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
        turns = len(view.turns(G2P))
        label = f"of the {turns} words timed in turns" if turns else APART
        yield from (replace(cell, label=label) for cell in _latency(view, PYTORCH, summary.pytorch, emulated=False))
    if summary.ratio and summary.artifact:
        yield from _ratios(view, summary.artifact.variant, summary.ratio)
    for name, model in summary.models.items():
        yield from _model(view, name, model)
    for name, facts in view.manifest.variants.items():
        # A runner of models of tensors alone has no variant of G2P in it, whatever it is filed under.
        name = name if view.manifest.checkpoint else ", ".join(view.manifest.models)
        yield _cell(view, name, "archive", "MB", facts.archive_bytes / 1e6, places=1)
        yield _cell(view, name, "runner", "MB", facts.runner_bytes / 1e6, places=1)


def _model(view: View, name: str, found: ModelSummary) -> Iterator[Cell]:
    """Of a model of tensors: its answers, and a row for each item's time, because items are never pooled."""
    emulated = view.emulated
    yield _cell(view, name, "answers compared", "", found.items)
    for verdict, count in found.by_verdict.items():
        # The others are of words alone.
        if verdict in SHOWN or count:
            yield _cell(view, name, f"answers {verdict.value}", "", count)
    for metric, error in (("max error", found.max_error), ("max error, of the largest", found.relative_error)):
        if error is not None:
            yield _cell(view, name, metric, "", error, digits=3)
    theirs = view.pytorch_times(name)
    for item, times in view.item_times(name).items():
        middle = float(np.median(times))
        yield _cell(view, name, f"median of {item}", "ms", middle / 1e6, places=3, emulated=emulated)
    for item, taken in theirs.items():
        yield _cell(view, f"{PYTORCH} {name}", f"median of {item}", "ms", float(np.median(taken)) / 1e6, places=3)
    for metric, value in (("cold load", found.cold_load), ("first call", found.first)):
        if value is not None:
            yield _cell(view, name, metric, "ms", value / 1e6, places=3, emulated=emulated)
    if found.peak_bytes is not None:
        yield _cell(view, name, "peak memory", "MB", found.peak_bytes / 1e6, places=1, emulated=emulated)
    if found.ratio:
        yield from _ratios(view, name, found.ratio)


def _ratios(view: View, variant: str, found: RatioSummary) -> Iterator[Cell]:
    """Of all words or items together, then of each."""
    yield from _ratio(view, variant, "", found)
    for item, one in found.by_item.items():
        yield from _ratio(view, variant, f" of {' '.join(view.words.get(item, (item,)))}", one)


def _ratio(view: View, variant: str, of: str, found: RatioSummary | ItemRatio) -> Iterator[Cell]:
    """A ratio that says nothing has its interval and no value; of times taken apart it is said beside it."""
    cell = _cell(view, variant, f"time ÷ PyTorch's{of}", "×", found.ratio, places=3)
    if not found.conclusive:
        cell = replace(cell, value=None, text=INCONCLUSIVE)
    elif isinstance(found, RatioSummary) and not found.paired:
        cell = replace(cell, label=APART)
    yield replace(cell, low=found.low, high=found.high)


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
    # A call of microseconds has no figures left at three places of a millisecond.
    small = places == 3 and unit == "ms" and abs(value) < 0.1
    text = f"{value:.{digits or 3}g}" if digits or small else f"{value:.{places}f}"
    device = str(view.manifest.device.get("name", "?"))
    return Cell(view.name, device, variant, metric, unit, value, text, "emulated" if emulated else "")
