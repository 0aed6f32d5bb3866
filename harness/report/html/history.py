"""Draw pictures over time: cells over nightly runs with their change points, and runs of a kind in order."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from harness.measure import METRICS
from harness.report.figures import duration
from harness.report.history import FEWEST
from harness.report.html.figure import Figure, numbers
from harness.report.html.latency import MS
from harness.report.html.views import View
from harness.results.drift import CellHistory, NightlyPoint

MOST_FEW = 20
"""Up to so many nightly runs, each one has its tick."""
FEWEST_RUNS = 3


def over_nightly_runs(histories: Sequence[CellHistory]) -> list[tuple[str, Figure]]:
    """Return a picture with its title for each device, model, variant and chain, with all its metrics."""
    shown = [history for history in histories if len(history.points) >= FEWEST]
    shown.sort(key=lambda found: (*_together(found), METRICS.index(found.metric)))
    groups = [list(found) for _, found in groupby(shown, _together)]
    return [(_title(group[0]), _over_nightly_runs(group)) for group in groups]


def _together(history: CellHistory) -> tuple[str, ...]:
    return history.device, history.model, history.variant, history.chain


def _title(history: CellHistory) -> str:
    return f"{history.device} · {history.model} · {history.variant}, since baseline {history.chain}"


def _over_nightly_runs(group: Sequence[CellHistory]) -> Figure:
    nightly_runs = sorted({point.night_id for history in group for point in history.points})
    place = {nightly: at for at, nightly in enumerate(nightly_runs, 1)}
    traces: list[dict[str, Any]] = []
    for history in group:
        color = METRICS.index(history.metric)
        traces += [_level(history, place, color), *_plateaus(history, place, color)]
    drifts = {(drift.night_id, drift.night_before) for history in group for drift in history.drifts}
    borders = sorted((place[nightly] + place[before]) / 2 for nightly, before in drifts)
    step = -(-len(nightly_runs) // MOST_FEW)
    ticks = nightly_runs[::step]
    changes = [
        f"{history.metric} {drift.magnitude:+.1%} since {drift.night_id}"
        for history in group
        for drift in history.drifts
    ]
    return Figure(
        title="Level over nightly runs",
        summary=f"{len(nightly_runs)} nightly runs. "
        + (f"Change points: {'; '.join(changes)}." if changes else "No change point."),
        traces=traces,
        layout={
            "height": 320,
            "xaxis": {
                "title": {"text": "nightly run"},
                "tickvals": [place[nightly] for nightly in ticks],
                "ticktext": [f"{nightly[4:6]}-{nightly[6:8]}" for nightly in ticks],
                "range": [0.5, len(nightly_runs) + 0.5],
                "zeroline": False,
            },
            "yaxis": {"title": {"text": "level"}, "zeroline": False},
            "shapes": [
                {"type": "line", "yref": "paper", "x0": border, "x1": border, "y0": 0, "y1": 1,
                 "line": {"width": 1.5, "dash": "dash"}}
                for border in borders
            ],
            "showlegend": True,
        },
        note="The candidate's time, where the chain's first baseline is 1, with each nightly run's interval. A dashed "
        "line is a change point: the first nightly run at the new level stands right of it. Thick lines are the levels "
        "between.",
        columns={
            "x": "number", "text": "night", "y": "level", "customdata": "commit", "name": "metric",
        },
    )  # fmt: skip


def _level(history: CellHistory, place: dict[str, int], color: int) -> dict[str, Any]:
    points = history.points
    highs, lows = ([bound(point) for point in points] for bound in (_above, _below))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": history.metric,
        "x": [place[point.night_id] for point in points],
        "y": numbers([point.level for point in points]),
        "text": [point.night_id for point in points],
        "customdata": [(point.commit or "")[:12] + (" with changes" if point.dirty else "") for point in points],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": numbers(highs),
            "arrayminus": numbers(lows),
            "thickness": 1,
            "width": 0,
        },
        "marker": {"size": 7},
        "visible": True if color == 0 else "legendonly",
        "hovertemplate": "%{text}: level %{y:.3f}, commit %{customdata}<extra>" + history.metric + "</extra>",
        "meta": {"series": color},
    }


def _above(point: NightlyPoint) -> float:
    return point.level * ((1 + point.high) / (1 + point.change) - 1)


def _below(point: NightlyPoint) -> float:
    return point.level * (1 - (1 + point.low) / (1 + point.change))


def _plateaus(history: CellHistory, place: dict[str, int], color: int) -> list[dict[str, Any]]:
    """Return the level between neighbouring change points; nothing without a change point."""
    if not history.drifts:
        return []
    places = [place[point.night_id] for point in history.points]
    cuts = [0, *(drift.index for drift in history.drifts), len(places)]
    levels = [history.drifts[0].before, *(drift.after for drift in history.drifts)]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [places[begin] - 0.4, places[end - 1] + 0.4],
            "y": numbers([level] * 2),
            "line": {"width": 4},
            "opacity": 0.5,
            "hoverinfo": "skip",
            "visible": True if color == 0 else "legendonly",
            "legendgroup": history.metric,
            "meta": {"series": color, "aside": True},
        }
        for begin, end, level in zip(cuts[:-1], cuts[1:], levels, strict=True)
    ]


def over_runs(views: Sequence[View]) -> list[tuple[str, Figure]]:
    """Return pictures of runs of one kind by start: same device, model, variant, words and measuring options."""
    kinds: dict[tuple[str, ...], list[tuple[int, View]]] = {}
    for at, view in enumerate(views):
        for model in () if view.emulated else _timed(view):
            kinds.setdefault((model, *_kind(view, model)), []).append((at, view))
    return [
        (_kind_title(found[0][1], kind[0]), _runs(found, kind[0]))
        for kind, found in kinds.items()
        if len(found) >= FEWEST_RUNS
    ]


def _kind_title(view: View, workload: str) -> str:
    alone = len(view.manifest.workloads) == 1 and workload in view.generations
    return view.title if alone else f"{view.title}: {workload}"


def _timed(view: View) -> list[str]:
    return [name for name, found in view.summary.workloads.items() if found.timed]


def _kind(view: View, workload: str) -> tuple[str, ...]:
    manifest, found = view.manifest, view.summary.workloads[workload]
    device = (manifest.device.get(key) for key in ("kind", "name", "serial", "udid", "cpu_model"))
    options = (manifest.options.get(key) for key in ("precision", "threads", "batch_size", "variant"))
    facts = manifest.workloads.get(workload)
    what = (facts and facts.weights_sha256, facts and facts.items_sha256, found.variant, *found.by_item)
    return tuple(map(str, (*device, *options, *what)))


@dataclass(frozen=True)
class _Level:
    """Hold one run's time: the median over like items with its interval, or the geometric mean of different ones."""

    time: float
    low: float
    high: float


def _level_of_run(view: View, workload: str) -> _Level:
    found = view.summary.workloads[workload]
    if (warm := found.warm) is None:
        mean = statistics.geometric_mean(item.median for item in found.by_item.values())
        return _Level(mean, mean, mean)
    return _Level(warm.median, warm.median_low or warm.median, warm.median_high or warm.median)


def _runs(found: Sequence[tuple[int, View]], model: str) -> Figure:
    ordered = sorted(found, key=lambda one: one[1].manifest.started)
    traces = []
    for place, (color, view) in enumerate(ordered, 1):
        git, level = view.manifest.git, _level_of_run(view, model)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": view.name,
                "x": [place],
                "y": numbers([level.time / MS]),
                "text": [view.manifest.run_id],
                "customdata": [git.commit[:12] + (" with changes" if git.dirty else "") if git else ""],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": numbers([(level.high - level.time) / MS]),
                    "arrayminus": numbers([(level.time - level.low) / MS]),
                    "thickness": 2,
                    "width": 5,
                },
                "marker": {"size": 10},
                "hovertemplate": "%{text}: %{y:.3f} ms, commit %{customdata}<extra>" + view.name + "</extra>",
                "meta": {"series": color},
            }
        )
    times = [_level_of_run(view, model).time for _, view in ordered]
    view = ordered[0][1]
    pooled, unit = view.summary.workloads[model].warm is not None, view.unit(model)
    how = (
        f"Bootstrap 95 % intervals over {unit}s within each run." if pooled else "Geometric means over the same items."
    )
    return Figure(
        title="Runs of one kind, one after another",
        summary=f"{len(ordered)} runs, from {duration(min(times))} to {duration(max(times))}.",
        traces=traces,
        layout={
            "height": 280,
            "xaxis": {
                "tickvals": list(range(1, len(ordered) + 1)),
                "ticktext": [view.name for _, view in ordered],
                "range": [0.5, len(ordered) + 0.5],
                "zeroline": False,
            },
            "yaxis": {"title": {"text": f"median per {unit}, ms" if pooled else "ms per item"}, "zeroline": False},
        },
        note=f"{how} Runs of different hours differ by a few percent "
        "without any change, so no change points are looked for here: that takes nightly runs, which measure in pairs.",
        columns={"x": "number", "text": "run", "y": "ms", "customdata": "commit", "name": "name"},
    )
