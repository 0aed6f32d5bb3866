"""Make the lab's page of its documents: HTML by a template that escapes everything, pictures as SVG without styles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import jinja2

from harness.cli.documents.lab import LabDocument, TrendLine
from harness.cli.labpage.stored import Lists
from harness.core.text import shown_line
from harness.report.html.page import TEMPLATES

OWN = Path(__file__).parent
WIDTH, HEIGHT, EDGE = 160.0, 34.0, 4.0
LEAST_SPREAD = 0.02
"""A picture's height stands for at least 2 %, so that noise does not look like a mountain."""
STYLES = {"pass": "good", "fail": "bad", "complete": "good", "failed": "bad", "free": "good", "held": "dim"}
PROMINENT = ("model", "soc", "os", "system", "arch", "battery", "battery_health", "ram_gb")
"""Labels that are visible; a click shows the others."""


@dataclass(frozen=True)
class Picture:
    """Hold the places of a trend's nightly runs in its picture."""

    line: str
    """The points of an SVG polyline."""
    last: tuple[float, float]
    marks: list[tuple[float, str]]
    """Where a level changed permanently, and how its colour is called."""
    summary: str


def picture(trend: TrendLine) -> Picture | None:
    """Return the picture of a cell's levels, None for fewer than two nightly runs."""
    levels = [point.level for point in trend.points if point.level is not None]
    if len(levels) < 2:
        return None
    low, high = min(levels), max(levels)
    spread = max(high - low, LEAST_SPREAD)
    middle = (low + high) / 2

    def x(at: int) -> float:
        return round(EDGE + (WIDTH - 2 * EDGE) * at / (len(levels) - 1), 1)

    def y(level: float) -> float:
        return round(HEIGHT / 2 - (HEIGHT - 2 * EDGE) * (level - middle) / spread, 1)

    nights = [point.night for point in trend.points if point.level is not None]
    marks = [
        (x(nights.index(one.night)), "bad" if (one.after or 0) > (one.before or 0) else "good")
        for one in trend.drifts
        if one.night in nights
    ]
    return Picture(
        line=" ".join(f"{x(at)},{y(level)}" for at, level in enumerate(levels)),
        last=(x(len(levels) - 1), y(levels[-1])),
        marks=marks,
        summary=f"level over {len(levels)} nightly runs, from {levels[0]:.3f} to {levels[-1]:.3f}",
    )


def duration(seconds: float | None) -> str:
    """Return a duration in words, coarse enough not to change at each look."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{int(seconds // 5) * 5} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def percent(value: float | None) -> str:
    """Return a change as a percentage with its sign."""
    return "–" if value is None else f"{value:+.1%}"


def safe(value: object) -> str:
    """Return any value of a label as one line with control characters spelt out."""
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return shown_line(text, most=200)


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(OWN),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"duration": duration, "percent": percent, "safe_text": safe, "picture": picture}
_ENVIRONMENT.globals |= {"styles": STYLES, "prominent": PROMINENT, "width": WIDTH, "height": HEIGHT}


def page(lab: LabDocument, lists: Lists | None, *, parts_only: bool = False) -> str:
    """Return the page, or only those parts of it that change."""
    template = _ENVIRONMENT.get_template("parts.html.j2" if parts_only else "page.html.j2")
    return template.render(lab=lab, lists=lists, assets={name: _version(name) for name in ASSETS})


def _read(name: str) -> bytes:
    own = (OWN / name).read_bytes()
    # The look of the house's reports, and what only this page has.
    return (TEMPLATES / name).read_bytes() + own if name == "page.css" else own


ASSETS = {
    name: (_read(name), kind)
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml"))
}
"""The page's other files, with their types."""


def _version(name: str) -> str:
    return hashlib.sha256(ASSETS[name][0]).hexdigest()[:12]
