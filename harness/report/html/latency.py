"""Draw pictures of time. An emulator's times are never in one picture with another run's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.report.figures import digits, duration
from harness.report.html.figure import GREY, Figure, height, log_axis, numbers
from harness.report.html.samples import PHASES, Samples
from harness.report.html.views import View, article, pytorch_times
from harness.results.schema import LatencySummary, WorkloadSummary

BINS = 120
SINGLE_POINTS = 4_000
"""Up to so many samples of a variant, each is a point. More are shown by quantiles of equal stretches."""
STRETCHES = 300
MS = 1e6
PARTS = ("encoder", "prefill", "steps", "the rest")
KEYS = ("encoder", "prefill", "step", "other")
"""The names of the same parts in a summary."""


@dataclass(frozen=True)
class Series:
    """Describe one colour: a variant of a run, or PyTorch on its machine."""

    name: str
    color: int
    timed: NDArray[np.int64]
    """Nanoseconds."""


def series_of(views: Sequence[View], workload: str) -> list[Series]:
    """Return the timed samples of a workload in these runs; both sides if they were timed alternately."""
    found: list[Series] = []
    for at, view in enumerate(views):
        for samples in view.samples_of(workload):
            timed = samples.total[samples.timed]
            if len(timed):
                found.append(Series(f"{view.name} {samples.name}", at, timed))
        if turns := [pair for pairs in view.turns(workload).values() for pair in pairs]:
            ours = [time for pair in turns for time in pair.artifact_ns]
            found.append(Series(f"{view.name}, alternately", at, np.asarray(ours, dtype=np.int64)))
    for names, times in pytorch_times(views, workload):
        in_turns = any(view.turns(workload) for view in views if view.name in names)
        taken = [time for of_item in times.values() for time in of_item]
        name = f"PyTorch ({', '.join(names)}){', alternately' if in_turns else ''}"
        found.append(Series(name, GREY, np.asarray(taken, dtype=np.int64)))
    return found


def distributions(series: Sequence[Series], more: str = "", unit: str = "word") -> Figure | None:
    """Draw a histogram of every warm sample for each series, over its quartiles; the bins are shared.

    ``more`` is added to the note.
    """
    if not series:
        return None
    low, high = (float(side([found(s.timed) for s in series])) for side, found in ((min, np.min), (max, np.max)))
    edges = np.geomspace(max(low, 1.0), max(high, low * 1.01, 2.0), BINS + 1)
    # This keeps the ends in a bin, however the logarithm was rounded.
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    traces = [trace for row, found in enumerate(reversed(series)) for trace in _ridge(found, row, edges)]
    rows = len(series)
    axis = log_axis(edges[0] / MS, edges[-1] / MS, f"time per {unit}, ms (logarithmic)")
    medians = "; ".join(f"{found.name}: median {duration(float(np.median(found.timed)))}" for found in series)
    return Figure(
        title=f"How long {article(unit)} takes",
        summary=f"Histograms of the warm samples. {medians}.",
        traces=traces,
        layout={
            "height": height(rows, 84),
            "xaxis": axis,
            "yaxis": {
                "tickvals": list(range(rows)),
                "ticktext": [found.name for found in reversed(series)],
                "range": [-0.35, rows],
                "showgrid": False,
                "zeroline": False,
            },
            "hovermode": "closest",
        },
        note=f"All {sum(len(found.timed) for found in series):,} warm samples are counted, none is dropped. Below each "
        f"hill: 5 % to 95 % (thin), quartiles (thick), median (dot). Long {unit}s take longer, so the hills are wide."
        f"{more}",
        columns={"x": "ms", "customdata": "samples", "name": "series"},
    )


def _ridge(found: Series, row: int, edges: NDArray[np.float64]) -> Iterator[dict[str, Any]]:
    counts, _ = np.histogram(found.timed, edges)
    peak = max(int(counts.max()), 1)
    # The outline has a step for each bin, closed along the base line.
    x = np.repeat(edges, 2)[1:-1] / MS
    y = row + 0.85 * np.repeat(counts, 2) / peak
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": found.name,
        "x": numbers(np.concatenate([[x[0]], x, [x[-1]]])),
        "y": numbers(np.concatenate([[row], y, [row]]), 4),
        "customdata": [0, *np.repeat(counts, 2).tolist(), 0],
        "line": {"width": 1, "shape": "linear"},
        "fill": "toself",
        "hoveron": "points",
        "hovertemplate": "%{x:.3f} ms: %{customdata} samples<extra>%{fullData.name}</extra>",
        "meta": {"series": found.color, "alpha": 0.28},
    }
    p5, q1, middle, q3, p95 = np.quantile(found.timed, [0.05, 0.25, 0.5, 0.75, 0.95], method="median_unbiased") / MS
    for ends, width in (((p5, p95), 1.5), ((q1, q3), 5)):
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(ends),
            "y": [row - 0.14] * 2,
            "line": {"width": width},
            "hoverinfo": "skip",
            "meta": {"series": found.color, "aside": True},
        }
    yield {
        "type": "scatter",
        "mode": "markers",
        "x": numbers([middle]),
        "y": [row - 0.14],
        "marker": {"size": 9, "line": {"width": 1.5}},
        "hovertemplate": f"median {middle:.3f} ms<extra>{found.name}</extra>",
        "meta": {"series": found.color, "aside": True},
    }


def in_order(name: str, color: int, samples: Samples, unit: str) -> Figure:
    """Draw every sample in the order of measuring, as a multiple of its word's or item's median."""
    medians = samples.item_medians()
    relative = samples.total / medians[samples.item]
    known = np.isfinite(relative)
    place, relative, phase = np.flatnonzero(known), relative[known], samples.phase[known]
    whole = len(place) <= SINGLE_POINTS
    traces = _points(place, relative, phase, color) if whole else list(_stretches(place, relative, color))
    axis = log_axis(float(relative.min()), float(relative.max()), f"× the {unit}'s median") if len(place) else {}
    worst = f"the slowest took {relative.max():.2f} times its {unit}'s median" if len(place) else "there are none"
    return Figure(
        title=f"Every sample of {name}, in the order it was taken",
        summary=f"{len(place):,} samples in the order of measuring; {worst}.",
        traces=traces,
        layout={
            "height": 260,
            "xaxis": {"title": {"text": "sample"}, "zeroline": False},
            "yaxis": axis,
            "showlegend": True,
        },
        note="A drift upwards is a device that grows slower while it is measured. "
        + (
            "Hollow points are the first inference and the warm-up."
            if whole
            else f"{len(place):,} samples, first and warm-up included, in {STRETCHES} equal stretches: "
            "each shows its fastest and slowest, 5 %, 50 % and 95 %."
        ),
        columns={"x": "sample", "y": "times_median", "name": "kind"},
    )


def _points(
    place: NDArray[np.intp], relative: NDArray[np.float64], phase: NDArray[np.int8], color: int
) -> list[dict[str, Any]]:
    traces = []
    for at, kind in enumerate(PHASES):
        chosen = phase == at
        if chosen.any():
            timed = kind.value == "timed"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": kind.value,
                    "x": place[chosen].tolist(),
                    "y": numbers(relative[chosen], 5),
                    "marker": {
                        "size": 4 if timed else 9 if kind.value == "first" else 5,
                        "symbol": "circle" if timed else "diamond-open" if kind.value == "first" else "circle-open",
                        "opacity": 0.7 if timed else 1,
                    },
                    "hovertemplate": "sample %{x}: ×%{y:.3f}<extra>" + kind.value + "</extra>",
                    "meta": {"series": color},
                }
            )
    return traces


def _stretches(place: NDArray[np.intp], relative: NDArray[np.float64], color: int) -> Iterator[dict[str, Any]]:
    """Yield quantiles of equal stretches. The lower edge of a band is drawn first, which closes the band."""
    cuts = np.array_split(np.arange(len(place)), STRETCHES)
    middle = [int(place[cut[len(cut) // 2]]) for cut in cuts]
    found = np.array([np.quantile(relative[cut], [0, 0.05, 0.5, 0.95, 1]) for cut in cuts]).T
    styles: list[tuple[str, int, dict[str, Any]]] = [
        ("fastest", 0, {"mode": "markers", "marker": {"size": 2}}),
        ("5 %", 1, {"mode": "lines", "line": {"width": 0}}),
        ("95 %", 3, {"mode": "lines", "line": {"width": 0}, "fill": "tonexty"}),
        ("median", 2, {"mode": "lines", "line": {"width": 2}}),
        ("slowest", 4, {"mode": "markers", "marker": {"size": 3}}),
    ]
    for name, at, style in styles:
        yield {
            "type": "scatter",
            "name": name,
            "x": middle,
            "y": numbers(found[at], 5),
            "hovertemplate": f"about sample %{{x}}: ×%{{y:.3f}}<extra>{name}</extra>",
            "meta": {"series": color, "alpha": 0.28},
            **style,
        }


def _timed(views: Sequence[View], workload: str) -> Iterator[tuple[int, View, WorkloadSummary, LatencySummary]]:
    """Yield the runs that timed a generation workload, with their places."""
    for at, view in enumerate(views):
        found = view.summary.workloads.get(workload)
        if found and found.warm:
            yield at, view, found, found.warm


def parts(views: Sequence[View], workload: str) -> Figure | None:
    """Draw where an item's time goes: medians of the calls, one bar for each run."""
    rows = [
        (f"{view.name} {found.variant}", [found.parts.get(part, 0) for part in KEYS], warm.median)
        for _, view, found, warm in _timed(views, workload)
    ]
    unit = next((view.unit(workload) for view in views), "item")
    return stacked(f"Where {article(unit)}'s time goes", "run", rows, unit) if rows else None


def stacked(title: str, what: str, rows: Sequence[tuple[str, Sequence[float], float]], unit: str = "word") -> Figure:
    """Draw a bar for each row, the first on top.

    A row is its name, its parts and the median of the whole, in nanoseconds.
    """
    upwards = rows[::-1]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label,
            "x": numbers(np.array([found[at] for _, found, _ in upwards]) / MS),
            "y": [name for name, _, _ in upwards],
            "text": [f"{found[at] / whole:.0%}" for _, found, whole in upwards],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "hovertemplate": "%{x:.3f} ms (%{text})<extra>" + label + "</extra>",
            "meta": {"part": at},
        }
        for at, label in enumerate(PARTS)
    ]
    parts = (
        f"{name}: " + ", ".join(f"{label} {duration(time)}" for label, time in zip(PARTS, found, strict=True))
        for name, found, _ in rows
    )
    return Figure(
        title=title,
        summary=f"{'; '.join(parts)}.",
        traces=traces,
        layout={
            "height": height(len(rows), 44, 120),
            "barmode": "stack",
            "xaxis": {"title": {"text": f"median per {unit}, ms"}, "rangemode": "tozero"},
            "yaxis": {"type": "category", "showgrid": False},
            "showlegend": True,
        },
        note="Medians of the parts, which need not add up to the median of the whole. Percent of the median.",
        columns={"x": "ms", "y": what, "name": "part"},
    )


@dataclass(frozen=True)
class Start:
    """Hold the times of one run's beginning, in nanoseconds."""

    name: str
    color: int
    cold: float | None
    first: float | None
    warm: float


def starts(views: Sequence[View], workload: str) -> Figure | None:
    """Draw the cold load, the process's first item, and a warm one."""
    shown = [
        Start(f"{view.name} {found.variant}", at, found.cold_load, found.first, warm.median)
        for at, view, found, warm in _timed(views, workload)
    ]
    unit = next((view.unit(workload) for view in views), "item")
    note = f"Cold load: all functions taken from the library, their VMs initialised. Warm: the median over all {unit}s."
    return cold_first_warm("Cold, first, warm", ("cold load", f"first {unit}", f"warm {unit}"), shown, note)


def cold_first_warm(title: str, kinds: Sequence[str], shown: Sequence[Start], note: str) -> Figure | None:
    """Draw the three kinds of times on one logarithmic axis."""
    if not shown:
        return None
    traces, values, parts = [], [], []
    for at, one in enumerate(shown):
        kept = [(kind, value / MS) for kind, value in zip(kinds, (one.cold, one.first, one.warm), strict=True) if value]
        values += [value for _, value in kept]
        parts.append(f"{one.name}: " + ", ".join(f"{kind} {duration(value * MS)}" for kind, value in kept))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text" if len(shown) <= 2 else "markers",
                "name": one.name,
                "x": numbers([value for _, value in kept]),
                "y": [kind for kind, _ in kept],
                "text": [digits(value) for _, value in kept],
                "textposition": "top center" if at == 0 else "bottom center",
                "marker": {"size": 11},
                "hovertemplate": "%{y}: %{x:.3f} ms<extra>%{fullData.name}</extra>",
                "meta": {"series": one.color},
            }
        )
    return Figure(
        title=title,
        summary=f"{'; '.join(parts)}.",
        traces=traces,
        layout={
            "height": 250,
            "xaxis": log_axis(min(values) / 1.3, max(values) * 1.3, "ms (logarithmic)"),
            "yaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(kinds)[::-1],
                "range": [-0.6, 2.6],
            },
            "showlegend": len(shown) > 1,
        },
        note=note,
        columns={"x": "ms", "y": "what", "name": "run"},
    )
