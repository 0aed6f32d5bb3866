"""Make the table of all cells: run × variant × metric, with numbers that can be sorted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.report.generation import PARTS
from harness.report.html.views import View
from harness.report.tensor import SHOWN, largest
from harness.results.schema import ItemRatio, LatencySummary, RatioSummary, WorkloadSummary
from harness.results.schema.pairs import APART, INCONCLUSIVE
from harness.validate import Verdict

PYTORCH = "PyTorch"


@dataclass(frozen=True)
class Cell:
    run: str
    device: str
    variant: str
    """The variant, a workload without variants, or PyTorch."""
    metric: str
    unit: str
    value: float | None
    text: str
    label: str = ""
    """``emulated`` for a time or a memory of an emulator; the cause of a nightly run's verdict."""
    verdict: str = ""
    low: float | None = None
    """The lower end of the 95 % interval, in the unit of the value."""
    high: float | None = None
    detectable: float | None = None
    """The smallest change that would have been found."""


def cells(view: View) -> Iterator[Cell]:
    """Yield every figure of a run, in the order of the report."""
    for name, found in view.summary.workloads.items():
        yield from _generation(view, name, found) if found.way.alike else _tensors(view, name, found)
    several = bool(view.generations)
    for name, facts in view.manifest.variants.items():
        # A runner of tensor workloads alone contains no variant, whatever its name is.
        name = name if several else ", ".join(view.manifest.workloads)
        yield _cell(view, name, "archive", "MB", facts.archive_bytes / 1e6, places=1)
        if facts.has_runner:
            yield _cell(view, name, "runner", "MB", facts.runner_bytes / 1e6, places=1)


def _generation(view: View, workload: str, found: WorkloadSummary) -> Iterator[Cell]:
    unit = view.unit(workload)
    for comparison, parity in found.parity.items():
        yield _cell(view, comparison, f"{unit}s compared", "", parity.items)
        for verdict, count in parity.by_verdict.items():
            yield _cell(view, comparison, f"{unit}s {verdict.value}", "", count)
        if parity.max_margin_error is not None:
            yield _cell(view, comparison, "max margin error", "", parity.max_margin_error, digits=3)
    for who, subsets in found.accuracy.items():
        name = PYTORCH if who == "pytorch" else who
        for subset, accuracy in subsets.items():
            yield _cell(view, name, f"PER {subset}", "", accuracy.per, places=3)
            yield _cell(view, name, f"WER {subset}", "", accuracy.wer, places=3)
    if found.warm:
        yield from _latency(view, found.variant, found.warm, unit, emulated=view.emulated)
        yield from _start(view, found.variant, f"first {unit}", found)
        for label, part in PARTS.items():
            if (spent := found.parts.get(part)) is not None:
                yield _cell(view, found.variant, label, "ms", spent / 1e6, places=3, emulated=view.emulated)
        yield from _peak(view, found.variant, found)
    if found.pytorch:
        turns = len(view.turns(workload))
        label = f"of the {turns} {unit}s timed alternately" if turns else APART
        beside = _latency(view, PYTORCH, found.pytorch, unit, emulated=False)
        yield from (replace(cell, label=label) for cell in beside)
    if found.ratio and found.warm:
        yield from _ratios(view, workload, found.variant, found.ratio)


def _start(view: View, name: str, first: str, found: WorkloadSummary) -> Iterator[Cell]:
    for metric, value in (("cold load", found.cold_load), (first, found.first)):
        if value is not None:
            yield _cell(view, name, metric, "ms", value / 1e6, places=3, emulated=view.emulated)


def _peak(view: View, name: str, found: WorkloadSummary) -> Iterator[Cell]:
    if found.peak_bytes is not None:
        yield _cell(view, name, "peak memory", "MB", found.peak_bytes / 1e6, places=1, emulated=view.emulated)


def _tensors(view: View, name: str, found: WorkloadSummary) -> Iterator[Cell]:
    """Yield a tensor workload's answers, and a row for each item's time, because items are never pooled."""
    yield _cell(view, name, "answers compared", "", found.compared)
    for verdict in Verdict:
        # Only generations have the other verdicts.
        if verdict in SHOWN or found.count(verdict):
            yield _cell(view, name, f"answers {verdict.value}", "", found.count(verdict))
    errors = {"max error": "max_error", "max error, of the largest": "relative_error"}
    for metric, error in errors.items():
        if (value := largest(found, error)) is not None:
            yield _cell(view, name, metric, "", value, digits=3)
    theirs = view.pytorch_times(name)
    for item, times in view.item_times(name).items():
        middle = float(np.median(times))
        yield _cell(view, name, f"median of {item}", "ms", middle / 1e6, places=3, emulated=view.emulated)
    for item, taken in theirs.items():
        yield _cell(view, f"{PYTORCH} {name}", f"median of {item}", "ms", float(np.median(taken)) / 1e6, places=3)
    yield from _start(view, name, "first call", found)
    yield from _peak(view, name, found)
    if found.ratio:
        yield from _ratios(view, name, name, found.ratio)


def _ratios(view: View, workload: str, name: str, found: RatioSummary) -> Iterator[Cell]:
    """Yield the ratio of all items together, then that of each item."""
    yield from _ratio(view, name, "", found)
    for item, one in found.by_item.items():
        yield from _ratio(view, name, f" of {view.label(workload, item)}", one)


def _ratio(view: View, variant: str, of: str, found: RatioSummary | ItemRatio) -> Iterator[Cell]:
    """Yield a ratio's cell. An inconclusive ratio has an interval but no value; times taken apart have a label."""
    cell = _cell(view, variant, f"time ÷ PyTorch's{of}", "×", found.ratio, places=3)
    if not found.conclusive:
        cell = replace(cell, value=None, text=INCONCLUSIVE)
    elif isinstance(found, RatioSummary) and not found.paired:
        cell = replace(cell, label=APART)
    yield replace(cell, low=found.low, high=found.high)


def _latency(view: View, variant: str, warm: LatencySummary, unit: str, *, emulated: bool) -> Iterator[Cell]:
    yield _cell(view, variant, "warm samples", "", warm.samples, emulated=emulated)
    low, high = (None if bound is None else bound / 1e6 for bound in (warm.median_low, warm.median_high))
    median = _cell(view, variant, f"median per {unit}", "ms", warm.median / 1e6, places=3, emulated=emulated)
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
    yield _cell(view, variant, f"{unit}s per second", "1/s", warm.items_per_second, places=1, emulated=emulated)


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
    # A call of microseconds has no significant digits at three places of a millisecond.
    small = places == 3 and unit == "ms" and abs(value) < 0.1
    text = f"{value:.{digits or 3}g}" if digits or small else f"{value:.{places}f}"
    device = str(view.manifest.device.get("name", "?"))
    return Cell(view.name, device, variant, metric, unit, value, text, "emulated" if emulated else "")
