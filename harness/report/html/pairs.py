"""Draw pictures of a nightly run: each cell's interval, every pair, both sides' times, the device's conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.measure import LATENCY, METRICS, Pair
from harness.report.conditions import thermal_status
from harness.report.html.figure import GREY, Figure, height, numbers
from harness.report.html.items import ItemSeries, item_rows
from harness.report.html.latency import Series, distributions, stacked
from harness.report.html.nightly import PairOfRuns, UnitView
from harness.results.journal import RunLine
from harness.results.nightly import CellFacts, SessionFacts

CANDIDATE = 0
SIDES = (("b", "candidate", CANDIDATE), ("a", "baseline", GREY))
"""The sides with their colours. The baseline is grey, because it is only for comparison."""
THROTTLED = 5
"""The colour of the crosses that mark throttled runs."""
Reader = Callable[[RunLine], dict[str, float]]


def unit_figures(unit: UnitView) -> list[Figure]:
    """Return all pictures of one unit; a nightly run that has not begun has none."""
    found = [intervals(unit), every_pair(unit), both_sides(unit), split(unit), *conditions(unit)]
    return [figure for figure in found if figure]


def intervals(unit: UnitView) -> Figure | None:
    """Draw every metric and session: the estimate, its interval, and the detectable change."""
    cells = [cell for cell in (unit.facts.cells if unit.facts else ()) if cell.first.change is not None]
    if not cells:
        return None
    rows = cells[::-1]
    traces = [_estimates(rows, "first", 0, lambda cell: cell.first)]
    if any(cell.second and cell.second.change is not None for cell in rows):
        traces.append(_estimates(rows, "confirmation", 1, lambda cell: cell.second))
    found = [(at, cell.first.detectable) for at, cell in enumerate(rows) if cell.first.detectable is not None]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "detectable",
            "x": numbers([100 * change for _, change in found]),
            "y": [at for at, _ in found],
            "text": [rows[at].metric for at, _ in found],
            "marker": {"size": 12, "symbol": "line-ns-open", "line": {"width": 2}},
            "hovertemplate": "%{text}: a change from %{x:+.1f} % would be found<extra></extra>",
            "meta": {"series": GREY},
        }
    )
    summary = "; ".join(
        f"{cell.metric}: {cell.verdict}, {_percent(cell.first.change)} "
        f"[{_percent(cell.first.change_low)}, {_percent(cell.first.change_high)}]"
        for cell in cells
    )
    return Figure(
        title="Change against the baseline",
        summary=f"{summary}.",
        traces=traces,
        layout={
            "height": height(len(rows), 48, 110),
            "xaxis": {"title": {"text": "change, % (right is slower)"}, "zeroline": True},
            "yaxis": {
                "tickvals": list(range(len(rows))),
                "ticktext": [f"{cell.metric}: {cell.verdict}" for cell in rows],
                "range": [-0.6, len(rows) - 0.4],
                "zeroline": False,
            },
            "shapes": [_line(x=0)],
            "showlegend": True,
        },
        note="Hodges–Lehmann estimate of the pairs with its bootstrap 95 % interval. The upright mark is the smallest "
        "change that would have been found with a probability of 95 %: a pass excludes no smaller ones.",
        columns={"x": "change_percent", "text": "metric", "name": "what"},
    )


def _estimates(
    cells: Sequence[CellFacts], name: str, color: int, session: Callable[[CellFacts], SessionFacts | None]
) -> dict[str, Any]:
    shown = [
        (at, cell.metric, found.change, found.change_low, found.change_high)
        for at, cell in enumerate(cells)
        if (found := session(cell))
        and found.change is not None
        and found.change_low is not None
        and found.change_high is not None
    ]
    aside = 0.14 if color == 0 else -0.14
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": numbers([100 * change for _, _, change, _, _ in shown]),
        "y": numbers([at + aside for at, *_ in shown]),
        "text": [metric for _, metric, *_ in shown],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers([100 * (high - change) for _, _, change, _, high in shown]),
            "arrayminus": numbers([100 * (change - low) for _, _, change, low, _ in shown]),
            "thickness": 2,
            "width": 5,
        },
        "marker": {"size": 9},
        "hovertemplate": "%{text}: %{x:+.2f} %<extra>" + name + "</extra>",
        "meta": {"series": color},
    }


def every_pair(unit: UnitView) -> Figure | None:
    """Draw the log ratio of every pair as a change in percent, with the intervals of the judged sessions."""
    if not unit.pairs:
        return None
    traces = [*_bands(unit)]
    for at, metric in enumerate(METRICS):
        ratios = [(place, pair, _ratio(pair, metric)) for place, pair in enumerate(unit.pairs, 1)]
        known = [(place, pair, ratio) for place, pair, ratio in ratios if ratio is not None]
        if not known:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": metric,
                "x": [place for place, _, _ in known],
                "y": numbers([100 * math.expm1(ratio) for _, _, ratio in known]),
                "text": [f"{pair.stage}, attempt {pair.attempt + 1}" for _, pair, _ in known],
                "customdata": numbers([ratio for _, _, ratio in known]),
                "marker": {"size": 9 if metric == LATENCY else 6},
                "visible": True if metric == LATENCY else "legendonly",
                "hovertemplate": "pair %{x}, %{text}: %{y:+.2f} %<extra>" + metric + "</extra>",
                "meta": {"series": at},
            }
        )
    named = sum(not trace["meta"].get("aside") for trace in traces)
    changes = [math.expm1(ratio) for pair in unit.pairs if (ratio := _ratio(pair, LATENCY)) is not None]
    borders = [at + 0.5 for at in range(1, len(unit.pairs)) if _session(unit.pairs[at]) != _session(unit.pairs[at - 1])]
    return Figure(
        title="Every pair, in the order it was measured",
        summary=f"{len(unit.pairs)} pairs; the candidate's latency changed by {_percent(min(changes))} to "
        f"{_percent(max(changes))}, by {_percent(float(np.median(changes)))} in the middle."
        if changes
        else f"{len(unit.pairs)} pairs.",
        traces=traces,
        layout={
            "height": 290,
            "xaxis": {"title": {"text": "pair"}, "range": [0.4, len(unit.pairs) + 0.6], "zeroline": False},
            "yaxis": {"title": {"text": "change, %"}, "zeroline": False},
            "shapes": [_line(y=0), *(_line(x=border, dash="dash") for border in borders)],
            "showlegend": True,
        },
        note="A point is a pair of fresh processes, baseline and candidate side by side. The band is the interval of a "
        "session that was judged."
        + (" Choose the parts in the legend." if named > 1 else "")
        + (" A dashed line separates sessions." if borders else ""),
        columns={"x": "pair", "y": "change_percent", "customdata": "log_ratio", "text": "session", "name": "metric"},
    )


def _bands(unit: UnitView) -> Iterator[dict[str, Any]]:
    """Yield the judged sessions' estimates and intervals of the latency, behind the points."""
    cell = unit.latency
    for stage, found in (("first", cell.first), ("confirmation", cell.second)) if cell else ():
        attempts = [pair.attempt for pair in unit.pairs if pair.stage == stage]
        places = [
            at
            for at, pair in enumerate(unit.pairs, 1)
            if pair.stage == stage and pair.attempt == max(attempts, default=0)
        ]
        if not places or found is None or found.change is None or found.change_low is None or found.change_high is None:
            continue
        low, high, ends = 100 * found.change_low, 100 * found.change_high, (places[0] - 0.4, places[-1] + 0.4)
        shared = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
        yield {
            **shared,
            "x": numbers([ends[0], ends[1], ends[1], ends[0], ends[0]]),
            "y": numbers([low, low, high, high, low]),
            "line": {"width": 0},
            "fill": "toself",
            "meta": {"series": 0, "alpha": 0.16, "aside": True},
        }
        yield {
            **shared,
            "x": numbers(ends),
            "y": numbers([100 * found.change] * 2),
            "line": {"width": 2},
            "meta": {"series": 0, "aside": True},
        }


def both_sides(unit: UnitView) -> Figure | None:
    """Draw every timed pass of both sides: a histogram for words, a row for each item of a tensor workload."""
    title = "Candidate against baseline, every timed pass"
    if unit.plan.comparison is not None:
        return item_rows(title, [ItemSeries(name, color, unit.item_times(side)) for side, name, color in SIDES])
    series = [Series(name, color, times) for side, name, color in SIDES if len(times := unit.times(side))]
    figure = distributions(series)
    return replace(figure, title=title) if figure else None


def split(unit: UnitView) -> Figure | None:
    """Draw how a word's time is spent on each side."""
    rows = [
        (name, np.median(parts, axis=0).tolist(), float(np.median(parts.sum(axis=1))))
        for side, name, _ in SIDES
        if (parts := unit.parts(side)) is not None
    ]
    return stacked("Where a word's time goes, candidate and baseline", "side", rows) if rows else None


@dataclass(frozen=True)
class _Quantity:
    title: str
    axis: str
    read: Reader
    note: str


def conditions(unit: UnitView) -> list[Figure]:
    """Draw the device's own values at each run, if it reports any: temperature, clocks, load."""
    quantities = (
        _Quantity("Temperature at each run", "°C", _temperatures, "Read before each run."),
        _Quantity("Clocks during each run", "GHz", _clocks, "Medians of the looks while the runner ran, by core."),
        _Quantity("Load before each run", "load", _load, "Of the whole machine, read before each run."),
    )
    return [figure for quantity in quantities if (figure := _over_runs(unit.runs, quantity))]


def _over_runs(runs: Sequence[RunLine], quantity: _Quantity) -> Figure | None:
    readings = [quantity.read(line) for line in runs]
    names = list(dict.fromkeys(name for found in readings for name in found))
    if not names:
        return None
    traces = []
    for color, name in enumerate(names):
        places = [at for at, found in enumerate(readings) if name in found]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [at + 1 for at in places],
                "y": numbers([readings[at][name] for at in places]),
                "text": ["candidate" if runs[at].side == "b" else "baseline" for at in places],
                "line": {"width": 1},
                "marker": {"size": 5},
                "hovertemplate": "run %{x}, %{text}: %{y:.4g}<extra>" + name + "</extra>",
                "meta": {"series": color},
            }
        )
    hot = [(at, status) for at, line in enumerate(runs) if (status := thermal_status(line.conditions, line.observed))]
    level = max(value for found in readings for value in found.values())
    if hot:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "throttled",
                "x": [at + 1 for at, _ in hot],
                "y": numbers([level] * len(hot)),
                "text": [f"thermal status {status}" for _, status in hot],
                "marker": {"size": 6, "symbol": "x"},
                "hovertemplate": "run %{x}: %{text}<extra></extra>",
                "meta": {"series": THROTTLED},
            }
        )
    bounds = "; ".join(f"{name}: {min(found):.3g} to {max(found):.3g}" for name, found in _ranges(names, readings))
    return Figure(
        title=quantity.title,
        summary=f"{bounds} {quantity.axis}" + (f"; throttled in {len(hot)} of {len(runs)} runs." if hot else "."),
        traces=traces,
        layout={
            "height": 240,
            "xaxis": {"title": {"text": "run"}, "zeroline": False},
            "yaxis": {"title": {"text": quantity.axis}, "zeroline": False},
            "showlegend": len(traces) > 1,
        },
        note=quantity.note + (" A cross is a run in which the device reported that it throttles." if hot else ""),
        columns={"x": "run", "y": "value", "text": "side", "name": "what"},
    )


def _ranges(names: Sequence[str], readings: Sequence[dict[str, float]]) -> Iterator[tuple[str, list[float]]]:
    for name in names:
        yield name, [found[name] for found in readings if name in found]


def _temperatures(line: RunLine) -> dict[str, float]:
    ending = "_celsius"
    return {
        key.removesuffix(ending).replace("_", " "): float(value)
        for key, value in line.conditions.items()
        if key.endswith(ending) and isinstance(value, (int, float))
    }


def _clocks(line: RunLine) -> dict[str, float]:
    clocks = line.observed.get("clock_khz")
    found = clocks.items() if isinstance(clocks, dict) else ()
    return {
        f"core {core}": clock["median"] / 1e6
        for core, clock in found
        if isinstance(clock, dict) and isinstance(clock.get("median"), (int, float))
    }


def _load(line: RunLine) -> dict[str, float]:
    load = line.conditions.get("load_1min")
    return {"1 minute": float(load)} if isinstance(load, (int, float)) else {}


def _ratio(pair: PairOfRuns, metric: str) -> float | None:
    a, b = pair.a.of_metric(metric), pair.b.of_metric(metric)
    return Pair(a, b).log_ratio if a and b else None


def _session(pair: PairOfRuns) -> tuple[str, int]:
    return pair.stage, pair.attempt


def _line(*, x: float | None = None, y: float | None = None, dash: str = "dot") -> dict[str, Any]:
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y} if x is None else {}
    ends = ends or {"yref": "paper", "y0": 0, "y1": 1, "x0": x, "x1": x}
    return {"type": "line", **ends, "line": {"width": 1, "dash": dash}}


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction:+.1%}"
