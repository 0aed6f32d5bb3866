"""Draw pictures of two runs: each item's median in B over its median in A. The runs were not measured together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.measure import Times
from harness.report.html.figure import Figure, log_axis, numbers
from harness.report.html.latency import MS
from harness.report.html.views import View, article

MANY = 30
"""From so many points on they are drawn small."""


def label_by_label(base: View, other: View, workload: str, color: int) -> Figure | None:
    """Draw each item's median in B over its median in A; None if the runs' times may not be compared."""
    if base.emulated or other.emulated:
        return None
    a, b = (
        {" ".join(label): times for label, times in view.side.samples.get(workload, {}).items()}
        for view in (base, other)
    )
    unit = base.unit(workload)
    title = f"{unit.capitalize()} by {unit}: {other.name} against {base.name}"
    return one_by_one(title, unit, (base.name, a), (other.name, b), color)


def one_by_one(
    title: str, unit: str, base: tuple[str, Mapping[str, Times]], other: tuple[str, Mapping[str, Times]], color: int
) -> Figure | None:
    """Draw the ratio of the medians of every word or item that both sides have; None without any."""
    (base_name, a), (other_name, b) = base, other
    shared = [one for one in a if one in b]
    if not shared:
        return None
    before = np.array([np.median(a[one]) for one in shared])
    ratio = np.array([np.median(b[one]) for one in shared]) / before
    return Figure(
        title=title,
        summary=f"{(ratio > 1).sum()} of {len(shared)} {unit}s took longer in {other_name}, from ×{ratio.min():.3f} to "
        f"×{ratio.max():.3f}. The runs were not measured together.",
        traces=[
            {
                "type": "scatter",
                "mode": "markers",
                "name": other_name,
                "x": numbers(before / MS),
                "y": numbers(ratio),
                "text": shared,
                "marker": {"size": 6 if len(shared) > MANY else 9, "opacity": 0.75},
                "hovertemplate": "%{text}: %{x:.3f} ms, ×%{y:.3f}<extra></extra>",
                "meta": {"series": color},
            }
        ],
        layout={
            "height": 300,
            "xaxis": log_axis(float(before.min()) / MS, float(before.max()) / MS, f"median in {base_name}, ms"),
            "yaxis": log_axis(
                min(float(ratio.min()), 0.98), max(float(ratio.max()), 1.02), f"{other_name} ÷ {base_name}"
            ),
            "shapes": [
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": 1,
                    "y1": 1,
                    "line": {"width": 1, "dash": "dot"},
                }
            ],
        },
        note=f"A point is {article(unit)}: above the line it took longer in {other_name}. "
        "The runs were not measured together, so that a few percent to either side mean nothing.",
        columns={"x": "median_ms", "y": "ratio", "text": unit},
    )
