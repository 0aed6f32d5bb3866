"""The page: the report's blocks as HTML, the pictures, the tables and the raw data in one file.

Every text of a run is data: the template escapes all of it, JSON in script elements has no ``<``, and the page's
content security policy runs this project's script alone and forbids the network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.explain.schema import Explanation
from harness.report.comparison import Incomparable, comparison_report
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.history import Commits, history_report
from harness.report.html import latency, quality
from harness.report.html.blobs import packed, raw_samples
from harness.report.html.cells import cells
from harness.report.html.conditions import OrderConditions, order_conditions
from harness.report.html.explained import explained
from harness.report.html.figure import Figure
from harness.report.html.history import over_nights, over_runs
from harness.report.html.night_sections import (
    NightCard,
    card,
    night_blocks,
    night_cells,
    night_documents,
    raw_nights,
    tables,
)
from harness.report.html.nights import NightView, UnitView
from harness.report.html.pairs import unit_figures
from harness.report.html.profile import profiles
from harness.report.html.views import View
from harness.report.overview import overview
from harness.report.run import latency_warnings, run_report, verdict_text
from harness.results import ParityLine
from harness.results.drift import CellHistory
from harness.shown import shown

TEMPLATES = Path(__file__).with_name("templates")
Section = tuple[str, list[Line | Table]]
"""The blocks below one heading."""


@dataclass(frozen=True)
class Card:
    """The verdict of one run, on top of the page."""

    view: View
    text: str
    """The verdict line of every report, without the verdict itself."""
    warnings: list[str]


@dataclass(frozen=True)
class Comparison:
    """One run against the first."""

    view: View
    conclusion: list[Line]
    """What the pairing says, and every reason to doubt it."""
    sections: list[Section]


@dataclass(frozen=True)
class Picture:
    id: str
    figure: Figure


@dataclass(frozen=True)
class Timeline:
    """A variant's samples in order, and below them the conditions they were taken in."""

    picture: Picture
    orders: list[OrderConditions]


@dataclass(frozen=True)
class Group:
    """Runs whose times may stand in one picture; an emulated run stands alone."""

    title: str
    emulated: bool
    pictures: list[Picture]
    timelines: list[Timeline]


@dataclass(frozen=True)
class UnitPictures:
    """A variant of a model on a device, in one night."""

    unit: UnitView
    pictures: list[Picture]


@dataclass(frozen=True)
class NightPart:
    card: NightCard
    tables: list[Table]
    units: list[UnitPictures]
    sections: list[Section]


@dataclass(frozen=True)
class Content:
    """What a report is of: at least one run, night or explanation."""

    views: Sequence[View] = ()
    """The first is the baseline of the others."""
    nights: Sequence[NightView] = ()
    explanations: Sequence[Explanation] = ()
    histories: Sequence[CellHistory] = ()
    commits: Commits = field(default_factory=dict)

    @property
    def title(self) -> str:
        if self.explanations:
            return f"Run {self.explanations[0].run_id}, {self.explanations[0].name} explained"
        if not self.nights:
            return f"Run {self.views[0].manifest.run_id}" if len(self.views) == 1 else f"{len(self.views)} runs"
        nights = f"Night {self.nights[0].record.night_id}" if len(self.nights) == 1 else f"{len(self.nights)} nights"
        runs = f" and {len(self.views)} {'run' if len(self.views) == 1 else 'runs'}" if self.views else ""
        return nights + runs


@dataclass(frozen=True)
class Divergence:
    run: str
    line: ParityLine


def render_page(content: Content) -> str:
    """The whole file as text."""
    views = content.views
    numbered = itertools.count(1)
    nights = [_night(night, numbered) for night in content.nights]
    histories = [
        (title, _picture(figure, numbered)) for title, figure in [*over_nights(content.histories), *over_runs(views)]
    ]
    groups = [_group(views, chosen, numbered) for chosen in _comparable(views)]
    accuracy = [found for found in (quality.by_language(views), quality.against_latency(views)) if found]
    sizes = quality.sizes(views)
    explanations = [(part, _picture(part.figure, numbered)) for part in map(explained, content.explanations)]
    profiled = [(part, _picture(part.figure, numbered)) for part in profiles(views)]
    context: dict[str, Any] = {
        "title": content.title,
        "nights": nights,
        "histories": histories,
        "history": history_report(content.histories, content.commits)[1:],
        "cards": [_card(view) for view in views],
        "overview": overview([view.side for view in views]) if views else None,
        "comparisons": [_comparison(views[0], view) for view in views[1:]],
        "groups": [group for group in groups if group.pictures],
        "accuracy": [_picture(found, numbered) for found in accuracy],
        "sizes": _picture(sizes, numbered) if sizes else None,
        "divergences": [
            Divergence(view.name, line) for view in views for line in view.parity if line.verdict.value != "equal"
        ],
        "compared": sum(len(view.parity) for view in views),
        "cells": [
            *(cell for night in content.nights for cell in night_cells(night)),
            *(cell for view in views for cell in cells(view)),
        ],
        "runs": [(view, _sections(run_report(view.manifest, view.summary))) for view in views],
        "views": views,
        "profiles": profiled,
        "explanations": explanations,
    }
    pictures = [picture for group in groups for picture in [*group.pictures, *(t.picture for t in group.timelines)]]
    pictures += [*context["accuracy"], *([context["sizes"]] if sizes else [])]
    pictures += [picture for night in nights for unit in night.units for picture in unit.pictures]
    pictures += [picture for _, picture in histories]
    pictures += [picture for _, picture in [*profiled, *explanations]]
    context["figures"] = packed(json.dumps({one.id: _drawn(one.figure) for one in pictures}).encode())
    context["raw"], context["raw_notes"] = _raw(content)
    context["documents"] = packed(json.dumps(_documents(content), ensure_ascii=False).encode())
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    context |= {
        "style": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "plotly": packed(plotly_script().read_bytes()),
    }
    return _environment().get_template("page.html.j2").render(context)


def report_blocks(content: Content) -> list[Block]:
    """The same figures for a terminal or Markdown: nights, all runs side by side, the comparisons, each run."""
    views = content.views
    side_by_side: list[Block] = [
        Heading(content.title if not content.nights else "Runs side by side"),
        *([overview([view.side for view in views])] if views else ()),
    ]
    return [
        *(block for night in content.nights for block in night_blocks(night)),
        *history_report(content.histories, content.commits),
        *(side_by_side if len(views) > 1 else ()),
        *(block for view in views[1:] for block in compared(views[0], view)),
        *(block for view in views for block in run_report(view.manifest, view.summary)),
    ]


def compared(base: View, other: View) -> list[Block]:
    """The comparison of two runs, or why there is none."""
    try:
        return comparison_report(base.side, other.side)
    except Incomparable as error:
        return [Heading(f"Runs {base.manifest.run_id} and {other.manifest.run_id}"), Line(str(error), Tone.UNSURE)]


def plotly_script() -> Path:
    """plotly.js as plotly's Python package brings it; found without importing that package."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None, "plotly is a dependency of this package"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.tests["heading"] = lambda block: isinstance(block, Heading)
    environment.tests["line"] = lambda block: isinstance(block, Line)
    return environment


def _shown(value: Any) -> Any:
    """Text of a run as it may be seen; the page's own parts are marked as such."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # Pictures and tables are texts, too, and long ones.
    return shown(value, most=len(value))


def _card(view: View) -> Card:
    text = verdict_text(view.summary, emulated=view.emulated).partition("  ·  ")[2]
    return Card(view, text, latency_warnings(view.manifest))


def _night(night: NightView, numbered: Iterator[int]) -> NightPart:
    units = [
        UnitPictures(unit, [_picture(figure, numbered) for figure in figures])
        for unit in night.units
        if (figures := unit_figures(unit))
    ]
    return NightPart(card(night), tables(night), units, _sections(night_blocks(night)))


def _comparable(views: Sequence[View]) -> list[list[View]]:
    real = [view for view in views if not view.emulated]
    return [*([real] if real else []), *([view] for view in views if view.emulated)]


def _group(views: Sequence[View], chosen: Sequence[View], numbered: Iterator[int]) -> Group:
    """The colour of a run is its place among all runs, whatever group it is in."""
    emulated = chosen[0].emulated
    # Series count their colours from the group's first run; a run alone in its group takes its own place.
    colors = [views.index(view) for view in chosen]
    found = [
        latency.distributions(latency.series_of(chosen, pytorch=True)),
        latency.parts(chosen),
        latency.starts(chosen),
        *(latency.word_by_word(chosen[0], other, at) for at, other in enumerate(chosen[1:], 1)),
    ]
    figures = [_recolored(figure, colors) for figure in found if figure]
    timelines = [
        Timeline(
            _picture(latency.in_order(f"{view.name} {samples.variant}", colors[at], samples), numbered),
            [order for order in order_conditions(view) if order.variant == samples.variant],
        )
        for at, view in enumerate(chosen)
        for samples in view.samples
    ]
    title = f"{chosen[0].name}, emulated" if emulated else ", ".join(view.name for view in chosen)
    return Group(title, emulated, [_picture(figure, numbered) for figure in figures], timelines)


def _recolored(figure: Figure, colors: Sequence[int]) -> Figure:
    for trace in figure.traces:
        place = trace["meta"].get("series", -1)
        if place >= 0:
            trace["meta"]["series"] = colors[place]
    return figure


def _picture(figure: Figure, numbered: Iterator[int]) -> Picture:
    return Picture(f"figure-{next(numbered)}", figure)


def _drawn(figure: Figure) -> dict[str, Any]:
    return {"data": figure.traces, "layout": figure.layout, "columns": figure.columns}


def _comparison(base: View, other: View) -> Comparison:
    sections = _sections(compared(base, other))
    lines = [block for block in sections[0][1] if isinstance(block, Line)]
    told = [line for at, line in enumerate(lines) if at == 0 or line.tone is Tone.UNSURE]
    return Comparison(other, told, sections)


def _sections(blocks: Sequence[Block]) -> list[Section]:
    sections: list[Section] = []
    for block in blocks:
        if isinstance(block, Heading):
            sections.append((block.text, []))
        else:
            sections[-1][1].append(block)
    return sections


def _raw(content: Content) -> tuple[dict[str, Any], list[str]]:
    """Raw samples by the name of their file, and what was rounded."""
    tables, notes = {}, []
    for name, table in raw_nights(content.nights):
        tables[name] = asdict(table)
        notes += [table.note] if table.note else []
    for view in content.views:
        for samples in view.samples:
            constants = {"run": view.manifest.run_id, "emulated": str(view.emulated).lower()}
            table = raw_samples(samples, view.words, constants)
            tables[f"samples-{view.name}-{samples.variant}"] = asdict(table)
            if table.note:
                notes.append(table.note)
    return tables, list(dict.fromkeys(notes))


def _documents(content: Content) -> dict[str, Any]:
    """The small files of each night and run, whole."""
    nights = (night_documents(night) for night in content.nights)
    return {name: found for night in nights for name, found in night.items()} | {
        f"{kind}-{view.name}": found
        for view in content.views
        for kind, found in (
            ("manifest", view.manifest.model_dump(mode="json")),
            ("summary", view.summary.model_dump(mode="json")),
            ("parity", [line.model_dump(mode="json") for line in view.parity]),
            ("reference", [line.model_dump(mode="json") for line in view.reference]),
        )
    }
