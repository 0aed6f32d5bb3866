"""Make the page: the report's blocks as HTML, the pictures, the tables and the raw data in one file.

Every text of a run is data. The template escapes all of it, and JSON in script elements contains no ``<``. The page's
content security policy allows only this project's script and forbids the network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness.core.text import shown
from harness.explain.schema import Explanation
from harness.report.beside import beside_report
from harness.report.comparison import Incomparable, comparison_report, conclusions, doubts
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.history import Commits, history_report
from harness.report.html import quality
from harness.report.html.blobs import packed, raw_samples
from harness.report.html.cells import cells
from harness.report.html.explained import explained
from harness.report.html.figure import Figure
from harness.report.html.history import over_nightly_runs, over_runs
from harness.report.html.nightly import NightlyView, UnitView
from harness.report.html.nightly_sections import (
    NightlyCard,
    card,
    nightly_blocks,
    nightly_cells,
    nightly_documents,
    raw_nightly_runs,
    tables,
)
from harness.report.html.pairs import unit_figures
from harness.report.html.profile import profiles
from harness.report.html.timed import Picture, numbered, timed_parts
from harness.report.html.views import View
from harness.report.overview import overview
from harness.report.reproduce import commit_links, reproduction, reproduction_doubt
from harness.report.run import latency_warnings, run_report, verdict_text
from harness.results import ParityLine
from harness.results.drift import CellHistory
from harness.validate import Verdict

TEMPLATES = Path(__file__).with_name("templates")
Section = tuple[str, list[Line | Table]]
"""The blocks below one heading."""


@dataclass(frozen=True)
class Card:
    """Hold the verdict of one run, shown on top of the page."""

    view: View
    text: str
    """The verdict line of every report, without the verdict itself."""
    warnings: list[str]
    again: str | None
    """The commands that make the run again."""
    doubt: str | None
    """Why the commands may make another run."""


@dataclass(frozen=True)
class Comparison:
    """Hold the comparison of one run with the first."""

    view: View
    conclusion: list[Line]
    """The result of the pairing, and every reason to doubt it."""
    sections: list[Section]


@dataclass(frozen=True)
class UnitPictures:
    """Hold the pictures of a variant of a model on a device, in one nightly run."""

    unit: UnitView
    pictures: list[Picture]


@dataclass(frozen=True)
class NightlyPart:
    card: NightlyCard
    tables: list[Table]
    units: list[UnitPictures]
    sections: list[Section]


@dataclass(frozen=True)
class Content:
    """Hold the content of a report: at least one run, nightly run or explanation."""

    views: Sequence[View] = ()
    """The first is the baseline of the others."""
    nightly_runs: Sequence[NightlyView] = ()
    explanations: Sequence[Explanation] = ()
    histories: Sequence[CellHistory] = ()
    commits: Commits = field(default_factory=dict)

    @property
    def title(self) -> str:
        if self.explanations:
            return f"Run {self.explanations[0].run_id}, {self.explanations[0].name} explained"
        if not self.nightly_runs:
            return f"Run {self.views[0].manifest.run_id}" if len(self.views) == 1 else f"{len(self.views)} runs"
        nightly_runs = (
            f"Nightly run {self.nightly_runs[0].record.night_id}"
            if len(self.nightly_runs) == 1
            else f"{len(self.nightly_runs)} nightly runs"
        )
        runs = f" and {len(self.views)} {'run' if len(self.views) == 1 else 'runs'}" if self.views else ""
        return nightly_runs + runs


@dataclass(frozen=True)
class Divergence:
    run: str
    line: ParityLine


def render_page(content: Content) -> str:
    """Return the whole file as text."""
    views = content.views
    numbers = itertools.count(1)
    nightly_runs = [_nightly(nightly, numbers) for nightly in content.nightly_runs]
    histories = [
        (title, numbered(figure, numbers))
        for title, figure in [*over_nightly_runs(content.histories), *over_runs(views)]
    ]
    timed = timed_parts(views, numbers)
    accuracy = [found for found in (quality.by_language(views), quality.against_latency(views)) if found]
    sizes = quality.sizes(views)
    explanations = [(part, numbered(part.figure, numbers)) for part in map(explained, content.explanations)]
    profiled = [(part, numbered(part.figure, numbers)) for part in profiles(views)]
    context: dict[str, Any] = {
        "title": content.title,
        "nightly_runs": nightly_runs,
        "histories": histories,
        "history": history_report(content.histories, content.commits)[1:],
        "cards": [_card(view) for view in views],
        "overview": overview([view.side for view in views]) if views else [],
        "comparisons": [_comparison(views[0], view) for view in views[1:]],
        "timed": timed,
        "accuracy": [numbered(found, numbers) for found in accuracy],
        "sizes": numbered(sizes, numbers) if sizes else None,
        "divergences": [
            Divergence(view.name, line)
            for view in views
            for line in _lines(view, alike=True)
            if line.verdict.value != "equal"
        ],
        "compared": sum(len(_lines(view, alike=True)) for view in views),
        "answers": [(view.name, line) for view in views for line in _lines(view, alike=False)],
        "agreement": _agreement(views),
        "models": any(view.manifest.unlike for view in views)
        or any(unit.plan.comparison is not None for nightly in content.nightly_runs for unit in nightly.units),
        "cells": [
            *(cell for nightly in content.nightly_runs for cell in nightly_cells(nightly)),
            *(cell for view in views for cell in cells(view)),
        ],
        "runs": [(view, _sections(run_report(view.manifest, view.summary))) for view in views],
        "views": views,
        "profiles": profiled,
        "explanations": explanations,
    }
    pictures = [picture for part in timed for picture in [*part.pictures, *(t.picture for t in part.timelines)]]
    pictures += [*context["accuracy"], *([context["sizes"]] if sizes else [])]
    pictures += [picture for nightly in nightly_runs for unit in nightly.units for picture in unit.pictures]
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
    return _environment(_links(content)).get_template("page.html.j2").render(context)


def report_blocks(content: Content) -> list[Block]:
    """Return the same figures for a terminal or Markdown: nightly runs, runs side by side, comparisons, each run."""
    views = content.views
    side_by_side: list[Block] = [
        Heading(content.title if not content.nightly_runs else "Runs side by side"),
        *(overview([view.side for view in views]) if views else ()),
    ]
    return [
        *(block for nightly in content.nightly_runs for block in nightly_blocks(nightly)),
        *history_report(content.histories, content.commits),
        *(side_by_side if len(views) > 1 else ()),
        *(block for view in views[1:] for block in compared(views[0], view)),
        *(block for view in views for block in run_report(view.manifest, view.summary)),
    ]


def compared(base: View, other: View) -> list[Block]:
    """Return the comparison of two runs, or the reason why there is none."""
    try:
        return comparison_report(base.side, other.side)
    except Incomparable as error:
        return [Heading(f"Runs {base.manifest.run_id} and {other.manifest.run_id}"), Line(str(error), Tone.UNSURE)]


def plotly_script() -> Path:
    """Return the path of plotly.js in plotly's Python package, without importing that package."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None, "plotly is a dependency of this package"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def _links(content: Content) -> Mapping[str, str]:
    """Return the web page of every commit of a run or of a side of a nightly run."""
    sides = (
        side for nightly in content.nightly_runs for unit in nightly.record.plan.units for side in (unit.a, unit.b)
    )
    return commit_links([*(view.manifest.git for view in content.views), *(side.git for side in sides)])


_HEX = re.compile(r"\b[0-9a-f]{7,64}\b")


def _linked(text: str, links: Mapping[str, str]) -> Markup:
    """Return the text, escaped, with a link at each name or prefix of a known commit."""
    parts, end = [], 0
    for found in _HEX.finditer(text):
        commit = next((commit for commit in links if commit.startswith(found[0])), None)
        if commit:
            parts.append(escape(text[end : found.start()]))
            parts.append(Markup('<a href="{}" rel="noreferrer">{}</a>').format(links[commit], found[0]))
            end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _environment(links: Mapping[str, str]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.tests["heading"] = lambda block: isinstance(block, Heading)
    environment.filters["linked"] = lambda text: _linked(text, links)
    environment.tests["line"] = lambda block: isinstance(block, Line)
    return environment


def _shown(value: Any) -> Any:
    """Return a run's text made safe to show; the page's own parts are marked as safe already."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # Pictures and tables are long texts, too.
    return shown(value, most=len(value))


def _card(view: View) -> Card:
    text = verdict_text(view.manifest, view.summary).partition("  ·  ")[2]
    manifest = view.manifest
    doubts = [block.text for block in beside_report(manifest, view.summary) if isinstance(block, Line)]
    warnings = [*latency_warnings(manifest), *doubts]
    return Card(view, text, warnings, reproduction(manifest), reproduction_doubt(manifest))


def _nightly(nightly: NightlyView, numbers: Iterator[int]) -> NightlyPart:
    units = [
        UnitPictures(unit, [numbered(figure, numbers) for figure in figures])
        for unit in nightly.units
        if (figures := unit_figures(unit))
    ]
    return NightlyPart(card(nightly), tables(nightly), units, _sections(nightly_blocks(nightly)))


def _lines(view: View, *, alike: bool) -> list[ParityLine]:
    """Return the comparisons of the workloads whose items are alike, or of the others."""
    workloads = view.manifest.alike if alike else view.manifest.unlike
    return [line for line in view.parity if line.workload in workloads]


def _agreement(views: Sequence[View]) -> list[Line]:
    """Return how many answers of each tensor workload agree with PyTorch's, in all runs together."""
    found: dict[str, list[Verdict]] = {}
    for line in (line for view in views for line in _lines(view, alike=False)):
        found.setdefault(line.workload, []).append(line.verdict)
    return [_agreement_of(model, verdicts) for model, verdicts in found.items()]


def _agreement_of(model: str, verdicts: Sequence[Verdict]) -> Line:
    """Return the line of one workload. Ties are not green: what they show is less than that the answers are equal."""
    ties, all_of_them = verdicts.count(Verdict.TIE), len(verdicts)
    agreed = verdicts.count(Verdict.EQUAL) + ties
    as_ties = f", {ties} of them as ties" if ties else ""
    if agreed < all_of_them:
        return Line(f"{agreed} of {all_of_them} answers of {model} agree{as_ties}.", Tone.BAD)
    return Line(f"All {agreed} answers of {model} agree{as_ties}.", Tone.UNSURE if ties else Tone.GOOD)


def _drawn(figure: Figure) -> dict[str, Any]:
    return {"data": figure.traces, "layout": figure.layout, "columns": figure.columns}


def _comparison(base: View, other: View) -> Comparison:
    sections = _sections(compared(base, other))
    lines = [*conclusions(base.side, other.side), *doubts(base.side, other.side)]
    # If runs cannot be compared, the reasons are shown instead.
    return Comparison(other, lines or [block for block in sections[0][1] if isinstance(block, Line)], sections)


def _sections(blocks: Sequence[Block]) -> list[Section]:
    sections: list[Section] = []
    for block in blocks:
        if isinstance(block, Heading):
            sections.append((block.text, []))
        else:
            sections[-1][1].append(block)
    return sections


def _raw(content: Content) -> tuple[dict[str, Any], list[str]]:
    """Return raw samples by the name of their file, and notes about rounding."""
    tables, notes = {}, []
    for name, table in raw_nightly_runs(content.nightly_runs):
        tables[name] = asdict(table)
        notes += [table.note] if table.note else []
    for view in content.views:
        for samples in view.samples:
            constants = {"run": view.manifest.run_id, "emulated": str(view.emulated).lower()}
            table = raw_samples(samples, view.items.get(samples.workload), constants)
            tables[f"samples-{view.name}-{samples.name}"] = asdict(table)
            if table.note:
                notes.append(table.note)
    return tables, list(dict.fromkeys(notes))


def _documents(content: Content) -> dict[str, Any]:
    """Return the small files of each nightly run and run, whole."""
    nightly_runs = (nightly_documents(nightly) for nightly in content.nightly_runs)
    return {name: found for nightly in nightly_runs for name, found in nightly.items()} | {
        f"{kind}-{view.name}": found
        for view in content.views
        for kind, found in (
            ("manifest", view.manifest.model_dump(mode="json")),
            ("summary", view.summary.model_dump(mode="json")),
            *((name, [line.model_dump(mode="json") for line in lines]) for name, lines in view.lines.items()),
        )
    }
