"""Make the page's section about an explanation: the error along the graph, relative to the allowed error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.explain.schema import Error, Explanation, SiteRow
from harness.report.document import Block
from harness.report.explanation import explanation_report, operation_text, verdict_lines
from harness.report.html.figure import GREY, Figure, log_axis

FLOOR, CEILING = 1e-6, 1e9
"""The bounds of the picture; an error of 0, or one that is not finite, is drawn on them."""


@dataclass(frozen=True)
class Explained:
    figure: Figure
    blocks: list[Block]


def explained(found: Explanation) -> Explained:
    return Explained(_figure(found), explanation_report(found, everything=True)[1:])


def _figure(found: Explanation) -> Figure:
    rows = [row for row in found.rows if row.own is not None]
    traces = [
        _trace("with what it inherits", rows, lambda row: row.whole, GREY),
        _trace("this kernel's own", rows, lambda row: row.own, 0),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "allowed",
            "x": [0, max(1, len(rows) - 1)],
            "y": [1, 1],
            "line": {"dash": "dash", "width": 1},
            "hoverinfo": "skip",
            "meta": {"series": GREY},
        },
    ]
    first = found.first
    if first is not None and first in rows:
        error = first.whole if found.inherited else first.own
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "the first that diverges",
                "x": [rows.index(first)],
                "y": [_height(error)],
                "text": [f"{first.place}, {first.module}: {operation_text(first)}"],
                "marker": {"symbol": "circle-open", "size": 18, "line": {"width": 3}},
                "hovertemplate": "%{text}<extra></extra>",
                "meta": {"series": 1},
            }
        )
    heights = [y for trace in traces for y in trace["y"]]
    begins = [at for at, row in enumerate(rows) if at == 0 or row.place != rows[at - 1].place]
    shown = begins[:: max(1, len(begins) // 12)]
    return Figure(
        title=f"Error along the graph, {found.word or found.name}",
        summary=verdict_lines(found)[-1 if first is None else 1].text,
        traces=traces,
        layout={
            "height": 420,
            "xaxis": {
                "title": {"text": "calls of kernels, in the order they ran"},
                "tickvals": shown,
                "ticktext": [rows[at].place for at in shown],
                "zeroline": False,
            },
            "yaxis": log_axis(min(heights, default=FLOOR), max(heights, default=1.0), "error over the allowed one"),
            "showlegend": True,
        },
        note="Above 1 an error is more than the measured one explains. An error of 0 and one that is not finite are at "
        "the picture's ends.",
        columns={"x": "call", "y": "of_allowed", "text": "operation", "name": "what"},
    )


def _trace(name: str, rows: Sequence[SiteRow], of: Callable[[SiteRow], Error | None], series: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": list(range(len(rows))),
        "y": [_height(of(row)) for row in rows],
        "text": [f"{row.place}, {row.module}: {operation_text(row)}" for row in rows],
        "marker": {"size": 5},
        "line": {"width": 1},
        "hovertemplate": "%{text}<br>%{y:.2g} of what is allowed<extra></extra>",
        "meta": {"series": series},
    }


def _height(error: Error | None) -> float:
    times = 0.0 if error is None else error.times_allowed
    return float(f"{min(max(times, FLOOR), CEILING):.4g}")
