"""Make the page's section about latency. Words, each tensor workload and each emulated run are separate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness.report.document import Table
from harness.report.html import changes, items, latency
from harness.report.html.conditions import OrderConditions, order_conditions
from harness.report.html.figure import Figure
from harness.report.html.ratios import ratios
from harness.report.html.views import View, how_timed
from harness.report.tensor import items_table


@dataclass(frozen=True)
class Picture:
    id: str
    figure: Figure


def numbered(figure: Figure, numbers: Iterator[int]) -> Picture:
    return Picture(f"figure-{next(numbers)}", figure)


@dataclass(frozen=True)
class Timeline:
    """Hold the samples of a variant or model in order, and the conditions below them."""

    picture: Picture
    orders: list[OrderConditions]


@dataclass(frozen=True)
class Timed:
    """Hold the times of one model, in runs whose times may be in one picture."""

    title: str
    """Empty if no other title is needed to distinguish it."""
    emulated: bool
    pictures: list[Picture]
    timelines: list[Timeline]
    tables: list[tuple[str, Table]] = field(default_factory=list)
    """Tables, each with a title."""


def timed_parts(views: Sequence[View], numbers: Iterator[int]) -> list[Timed]:
    """Return parts for all real runs together, then for each emulated run: words, then each tensor workload."""
    real = [view for view in views if not view.emulated]
    groups = [*([real] if real else []), *([view] for view in views if view.emulated)]
    found = [(chosen, model) for chosen in groups for model in _models(chosen)]
    several = len({model for _, model in found}) > 1
    parts = []
    for chosen, model in found:
        names = ", ".join(view.name for view in chosen) + (", emulated" if chosen[0].emulated else "")
        alone = not several and any(model in view.generations for view in chosen)
        titles = [*([] if alone else [model]), *([names] if len(groups) > 1 else [])]
        parts.append(_part(views, chosen, model, " · ".join(titles), numbers))
    return [part for part in parts if part.pictures or part.timelines]


def _models(chosen: Sequence[View]) -> list[str]:
    names = dict.fromkeys(name for view in chosen for name in view.generations)
    timed = [name for name in names if any(view.samples_of(name) or view.pytorch_times(name) for view in chosen)]
    return [*timed, *items.model_names(chosen)]


def _part(views: Sequence[View], chosen: Sequence[View], model: str, title: str, numbers: Iterator[int]) -> Timed:
    """Make the part of one model. The colour of a run is its place among all runs, whatever group it is in."""
    colors = [views.index(view) for view in chosen]
    figures = [_recolored(figure, colors) for figure in _figures(chosen, model) if figure]
    pictures = [numbered(figure, numbers) for figure in figures]
    timelines = [
        Timeline(
            numbered(latency.in_order(name, colors[at], samples, view.unit(model)), numbers),
            [order for order in order_conditions(view) if order.name == samples.name],
        )
        for at, view in enumerate(chosen)
        for samples in view.samples_of(model)
        for name in (f"{view.name} {samples.name}",)
    ]
    # The heading names the model, so the first column need not.
    tables = [
        (
            f"Items of {model}, {view.name}",
            replace(table, header=table.header[1:], rows=[row[1:] for row in table.rows]),
        )
        for view in chosen
        if (found := view.summary.workloads.get(model))
        and (table := items_table({model: found}, emulated=view.emulated))
    ]
    return Timed(title, chosen[0].emulated, pictures, timelines, tables)


def _figures(chosen: Sequence[View], model: str) -> Iterable[Figure | None]:
    base, others = chosen[0], list(enumerate(chosen[1:], 1))
    if any(model in view.generations for view in chosen):
        series = latency.series_of(chosen, model)
        yield latency.distributions(series, how_timed(chosen, model), base.unit(model))
        yield latency.parts(chosen, model)
        yield latency.starts(chosen, model)
        yield from (ratios(view, model, at) for at, view in enumerate(chosen))
        yield from (changes.label_by_label(base, other, model, at) for at, other in others)
    else:
        yield items.of_runs(chosen, model)
        yield items.starts(chosen, model)
        yield from (ratios(view, model, at) for at, view in enumerate(chosen))
        yield from (items.against(base, other, model, at) for at, other in others)


def _recolored(figure: Figure, colors: Sequence[int]) -> Figure:
    for trace in figure.traces:
        place = trace["meta"].get("series", -1)
        if place >= 0:
            trace["meta"]["series"] = colors[place]
    return figure
