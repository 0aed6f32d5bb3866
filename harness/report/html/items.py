"""Draw pictures of tensor workloads. Their items are unlike each other, so that each item has a row of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.report.figures import duration
from harness.report.html.changes import one_by_one
from harness.report.html.figure import GREY, Figure, height, log_axis, numbers
from harness.report.html.latency import MS, Start, cold_first_warm
from harness.report.html.views import View, how_timed, pytorch_times

MOST = 30
"""The most rows of a picture; the tables contain all items."""
Times = Mapping[str, Sequence[int] | NDArray[np.int64]]
"""The nanoseconds of each item."""


@dataclass(frozen=True)
class ItemSeries:
    """Describe one colour: a run, PyTorch on its machine, or a side of a nightly run."""

    name: str
    color: int
    times: Times


def item_rows(title: str, series: Sequence[ItemSeries], more: str = "") -> Figure | None:
    """Draw each item's median and the range of nine of ten of its samples, in rows on one logarithmic axis.

    ``more`` is added to the note.
    """
    shown = [found for found in series if any(len(times) for times in found.times.values())]
    if not shown:
        return None
    every = list(dict.fromkeys(item for found in shown for item in found.times if len(found.times[item])))
    items = every if len(every) <= MOST else sorted(every, key=lambda item: -_slowest(item, shown))[:MOST]
    rows = {item: at for at, item in enumerate(reversed(items))}
    traces, bounds = [], []
    for at, found in enumerate(shown):
        names = [item for item in items if len(found.times.get(item, ()))]
        low, middle, high = (
            np.array(
                [np.quantile(found.times[item], [0.05, 0.5, 0.95], method="median_unbiased") / MS for item in names]
            )
            .reshape(-1, 3)
            .T
        )
        bounds += [float(low.min()), float(high.max())]
        aside = 0.0 if len(shown) == 1 else 0.42 * (0.5 - at / (len(shown) - 1))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": found.name,
                "x": numbers(middle),
                "y": numbers([rows[item] + aside for item in names], 4),
                "text": names,
                "customdata": [len(found.times[item]) for item in names],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": numbers(high - middle),
                    "arrayminus": numbers(middle - low),
                    "thickness": 2,
                    "width": 4,
                },
                "marker": {
                    "size": 10,
                    "symbol": "circle-open" if found.color == GREY else "circle",
                    "line": {"width": 2 if found.color == GREY else 0},
                },
                "hovertemplate": "%{text}: %{x:.3f} ms, %{customdata} samples<extra>" + found.name + "</extra>",
                "meta": {"series": found.color},
            }
        )
    parts = (
        f"{item}: "
        + ", ".join(
            f"{found.name} {duration(float(np.median(found.times[item])))}"
            for found in shown
            if len(found.times.get(item, ()))
        )
        for item in items
    )
    left = f" The {MOST} slowest of {len(every)} items; the tables have all." if len(items) < len(every) else ""
    return Figure(
        title=title,
        summary=f"{'; '.join(parts)}.",
        traces=traces,
        layout={
            "height": height(len(items), max(34, 16 * len(shown)), 110),
            "xaxis": log_axis(min(bounds), max(bounds), "ms per call (logarithmic)"),
            "yaxis": {
                "tickvals": list(rows.values()),
                "ticktext": list(rows),
                "range": [-0.6, len(items) - 0.4],
                "zeroline": False,
            },
            "showlegend": True,
        },
        note=f"Dots are medians, lines go from 5 % to 95 % of the warm samples, and none is dropped.{left}{more}",
        columns={"x": "median_ms", "text": "item", "customdata": "samples", "name": "series"},
    )


def _slowest(item: str, series: Sequence[ItemSeries]) -> float:
    return max(float(np.median(found.times[item])) for found in series if len(found.times.get(item, ())))


def model_names(views: Sequence[View]) -> list[str]:
    """Return the tensor workloads that any of these runs timed."""
    return list(dict.fromkeys(name for view in views for name in view.manifest.unlike if view.item_times(name)))


def of_runs(views: Sequence[View], model: str) -> Figure | None:
    """Draw every item of a model, in each run, and in PyTorch if it was timed."""
    series = [ItemSeries(view.name, at, view.item_times(model)) for at, view in enumerate(views)]
    series += [ItemSeries(f"PyTorch ({', '.join(names)})", GREY, times) for names, times in pytorch_times(views, model)]
    return item_rows(f"How long each item of {model} takes", series, how_timed(views, model))


def starts(views: Sequence[View], model: str) -> Figure | None:
    """Draw the loading of the model, its first call, and the median of the same item's warm calls."""
    shown = []
    for at, view in enumerate(views):
        found, times = view.summary.workloads.get(model), view.item_times(model)
        if found and found.first and times:
            warm = float(np.median(next(iter(times.values()))))
            shown.append(Start(view.name, at, found.cold_load, found.first, warm))
    note = "Cold load: the model taken from the library, its VM initialised. Both calls are of the first item."
    return cold_first_warm(f"Cold, first, warm: {model}", ("cold load", "first call", "warm call"), shown, note)


def against(base: View, other: View, model: str, color: int) -> Figure | None:
    """Draw each item's median in B over its median in A; None if the runs' times may not be compared."""
    if base.emulated or other.emulated:
        return None
    return one_by_one(
        f"Item by item: {model}, {other.name} against {base.name}",
        "item",
        (base.name, base.item_times(model)),
        (other.name, other.item_times(model)),
        color,
    )
