"""Draw a run's ratios to PyTorch: a point for each word or item that both sides ran alternately."""

from __future__ import annotations

from harness.report.beside import item_cell
from harness.report.html.figure import Figure, log_axis, numbers
from harness.report.html.latency import MS
from harness.report.html.views import View, article

MOST = 12
"""The most items named in the sentence; the table of all cells contains all."""


def ratios(view: View, model: str, color: int) -> Figure | None:
    """Draw the ratios of a model; None if its sides were timed apart, or if PyTorch was not timed."""
    found = view.ratio(model)
    if found is None or not found.by_item:
        return None
    unit = view.unit(model)
    names = [view.label(model, item) for item in found.by_item]
    points = list(found.by_item.values())
    low, high = ([bound for one in points if (bound := getattr(one, end)) is not None] for end in ("low", "high"))
    bounds = [*low, *high, *(one.ratio for one in points)]
    models = "; ".join(
        f"{name} {item_cell(found, item)}" for name, item in zip(names[:MOST], found.by_item, strict=False)
    )
    more = f"; and {len(points) - MOST} more" if len(points) > MOST else ""
    times = [one.pytorch / MS for one in points]
    unsure = any(not one.conclusive for one in points)
    doubt = " Of a hollow one the interval is too wide for a conclusion." if unsure else ""
    return Figure(
        title=f"Each {unit} compared with PyTorch, {view.name}{'' if model in view.generations else f', {model}'}",
        summary=f"Time over PyTorch's of {len(points)} {unit}s: {models}{more}.",
        traces=[
            {
                "type": "scatter",
                "mode": "markers",
                "name": view.name,
                "x": numbers(times),
                "y": numbers([one.ratio for one in points]),
                "text": names,
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": numbers([(one.high or one.ratio) - one.ratio for one in points]),
                    "arrayminus": numbers([one.ratio - (one.low or one.ratio) for one in points]),
                    "thickness": 1.5,
                    "width": 3,
                },
                "marker": {"size": 8, "symbol": ["circle" if one.conclusive else "circle-open" for one in points]},
                "hovertemplate": "%{text}: ×%{y:.3f} of %{x:.3f} ms<extra></extra>",
                "meta": {"series": color},
            }
        ],
        layout={
            "height": 300,
            "xaxis": log_axis(min(times), max(times), "PyTorch's median, ms"),
            "yaxis": log_axis(min(bounds), max(bounds), "time ÷ PyTorch's"),
        },
        note=f"A point is {article(unit)} that both sides ran alternately, with its 95 % "
        f"interval over the rounds: below 1 it takes less than in PyTorch.{doubt}",
        columns={"x": "pytorch_ms", "y": "ratio", "text": unit},
    )
