"""Make the page's section about profiles: where each model's time goes, and the machine's limit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from harness.profiling.groups import by_operator
from harness.report.document import Block, Line
from harness.report.figures import duration
from harness.report.html.figure import GREY, Figure, height, numbers
from harness.report.html.views import View, article
from harness.report.profile import profile_report
from harness.results.schema.profile import ProfileSummary

MOST = 20
"""The most operators in the picture; the table contains all of them."""


@dataclass(frozen=True)
class ProfilePart:
    """Hold a profile of a run's model, as ``harness profile`` shows it, without the heading."""

    view: View
    model: str
    figure: Figure
    lines: list[Line]
    """The cost of profiling, or a warning that the machine was too noisy; the machine's speed."""
    blocks: list[Block]


def profiles(views: Sequence[View]) -> list[ProfilePart]:
    """Return a part for each profiled model of the runs."""
    return [_part(view, at, profile) for at, view in enumerate(views) for profile in view.profiles if profile.sites]


def _part(view: View, color: int, profile: ProfileSummary) -> ProfilePart:
    blocks = profile_report(profile)[1:]
    lines = list(itertools.takewhile(lambda block: isinstance(block, Line), blocks))
    head = [line for line in lines if isinstance(line, Line)]
    return ProfilePart(view, profile.workload, _figure(view.name, color, profile), head, blocks[len(head) :])


def _figure(name: str, color: int, profile: ProfileSummary) -> Figure:
    """Draw the slowest operators, the slowest on top; an emulator's have no limits."""
    groups = by_operator(profile)[:MOST][::-1]
    labels = [group.name for group in groups]
    places = list(range(len(groups)))
    # A few small kernels together take only microseconds.
    unit, size = ("ms", 1e6) if groups[-1].total_ns / profile.samples >= 1e5 else ("µs", 1e3)
    taken = [group.total_ns / profile.samples / size for group in groups]
    slowest = groups[-1]
    share = slowest.total_ns / profile.total_ns if profile.total_ns else 0.0
    per = article(profile.unit)
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": "measured",
            "x": numbers(taken, 4),
            "y": places,
            "text": labels,
            "textposition": "none",
            "customdata": [[group.calls / profile.samples, group.total_ns / profile.total_ns] for group in groups],
            "hovertemplate": f"%{{text}}<br>%{{x:.3f}} {unit} {per}, %{{customdata[1]:.1%}}, "
            "%{customdata[0]:.1f} calls<extra></extra>",
            "meta": {"series": color},
        }
    ]
    limits = [(place, group) for place, group in zip(places, groups, strict=True) if group.least_ns is not None]
    if limits:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "roofline",
                "x": numbers([(group.least_ns or 0.0) / profile.samples / size for _, group in limits], 4),
                "y": [place for place, _ in limits],
                "text": [group.name for _, group in limits],
                "marker": {"symbol": "line-ns-open", "size": 14, "line": {"width": 2}},
                "hovertemplate": f"%{{text}}<br>at least %{{x:.3f}} {unit} {per}<extra>roofline</extra>",
                "meta": {"series": GREY},
            }
        )
    return Figure(
        title=f"Time per operator, {name}, {profile.workload}{', emulated' if profile.emulated else ''}",
        summary=f"{share:.0%} of the time in {slowest.name}, {duration(slowest.total_ns / profile.samples)} {per}",
        traces=traces,
        layout={
            "height": height(len(groups), 24, 110),
            "xaxis": {"title": {"text": f"{unit} per {profile.unit}"}, "rangemode": "tozero", "zeroline": False},
            "yaxis": {"tickvals": places, "ticktext": labels, "zeroline": False, "automargin": True},
            "showlegend": bool(limits),
        },
        note=f"Means over the {profile.unit}s, instrumented." + (" The line is the roofline's time." if limits else ""),
        columns={"x": f"{'ms' if unit == 'ms' else 'us'}_per_{profile.unit}", "text": "operators", "name": "what"},
    )
