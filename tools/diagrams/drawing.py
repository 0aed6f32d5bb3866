"""Draw an SVG file of cards, pills, arrows and text, narrow enough to be read on a phone.

A file has its own colours for a light and a dark system, its own background, and no script, font or link.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

WIDTH = 420
"""A diagram's width in its own units. A page on a phone of 390 pixels shows them a little smaller than pixels."""
SCALE = 1.5
"""A wide page shows the diagram so many times as large."""
SANS, MONO = 0.55, 0.605
"""The mean width of a letter, as a fraction of the font's size; rather too much, so that lines end inside a card."""

STYLE = """
svg { --page: #ffffff; --ink: #1d2025; --dim: #555d6b; --line: #c3c9d4; --card: #f4f6f9;
  --blue: #dce8fb; --blue-ink: #17427f; --green: #d9f0e1; --green-ink: #14532d; --amber: #fbecc8; --amber-ink: #6b4500;
  --red: #fbdcdc; --red-ink: #86171a; --violet: #e9e2fa; --violet-ink: #46288a; --grey: #e6e9ee; --grey-ink: #3d4450; }
@media (prefers-color-scheme: dark) {
  svg { --page: #16181c; --ink: #e7e9ed; --dim: #a3abb8; --line: #454c59; --card: #20242b;
    --blue: #1d3354; --blue-ink: #bcd6ff; --green: #183a26; --green-ink: #b5ecc8; --amber: #45340e;
    --amber-ink: #fbdf9d; --red: #4d1d1f; --red-ink: #ffc9c9; --violet: #33274f; --violet-ink: #dccfff;
    --grey: #2d323b; --grey-ink: #ced4de; }
}
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }
.dim { fill: var(--dim); } .bold { font-weight: 650; }
.arrow { stroke: var(--dim); stroke-width: 1.5; fill: none; marker-end: url(#head); }
#head path { fill: var(--dim); }
"""


@dataclass
class Drawing:
    """Collect the pieces of a file. Every text is escaped."""

    title: str
    description: str
    pieces: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, words: str, *, size: float = 12, style: str = "", anchor: str = "start", ink: str = ""
    ) -> None:
        """Write one line, whose baseline is at ``y``."""
        fill = f' style="fill: var(--{ink})"' if ink else ""
        kind = f' class="{style}"' if style else ""
        where = f'x="{x:g}" y="{y:g}" font-size="{size:g}"' + ("" if anchor == "start" else f' text-anchor="{anchor}"')
        self.pieces.append(f"<text {where}{kind}{fill}>{escape(words)}</text>")

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str = "card", line: str = "line", round: int = 6
    ) -> None:
        self.pieces.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round}" '
            f'style="fill: var(--{fill}); stroke: var(--{line})"/>'
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line through the points, with a head at its end."""
        way = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.pieces.append(f'<path class="arrow" d="M{way}"/>')

    def pill(self, x: float, y: float, width: float, words: str, colour: str, *, height: float = 24) -> None:
        """Draw a short word in a coloured box."""
        self.box(x, y, width, height, fill=colour, line=colour, round=int(height / 2))
        self.text(x + width / 2, y + height / 2 + 4, words, size=11, style="bold", anchor="middle", ink=f"{colour}-ink")

    def card(
        self, x: float, y: float, width: float, title: str, words: str, code: str = "", *, fill: str = "card"
    ) -> float:
        """Draw a card with a title, sentences, and the names of modules; return the y of its lower edge."""
        lines = [*((line, "") for line in wrapped(words, width - 20, 12))]
        names = [line for part in code.split("\n") if part for line in wrapped(part, width - 20, 10.5, MONO)]
        height = 28 + 16 * len(lines) + 14.5 * len(names) + 5
        ink = "" if fill == "card" else f"{fill}-ink"
        self.box(x, y, width, height, fill=fill, line="line" if fill == "card" else fill)
        self.text(x + 10, y + 20, title, size=13, style="bold", ink=ink)
        at = y + 20
        for line, _ in lines:
            at += 16
            self.text(x + 10, at, line, ink=ink)
        for line in names:
            at += 14.5
            self.text(x + 10, at, line, size=10.5, style="mono" if ink else "mono dim", ink=ink)
        return y + height

    def listing(self, x: float, y: float, width: float, code: str) -> float:
        """Draw lines of code as they are; return the y of the lower edge. Raises ValueError for a line too wide."""
        lines, size, most = code.split("\n"), 10.0, int((width - 16) / (10.0 * MONO))
        if long := [line for line in lines if len(line) > most]:
            raise ValueError(f"{long[0]!r} has more than {most} letters")
        height = 13.5 * len(lines) + 10
        self.box(x, y, width, height, fill="page")
        for at, line in enumerate(lines):
            # A file of SVG would lose a line's indentation.
            spaces = len(line) - len(line.lstrip())
            self.text(x + 8 + spaces * size * MONO, y + 16 + 13.5 * at, line.lstrip(), size=size, style="mono")
        return y + height

    def svg(self, height: float) -> str:
        """Return the file's text."""
        body = "\n".join(self.pieces)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * SCALE:g}" height="{height * SCALE:g}" '
            f'viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label={quoteattr(self.title)}>\n'
            f"<title>{escape(self.title)}</title>\n<desc>{escape(self.description)}</desc>\n<style>{STYLE}</style>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
            f'<rect width="{WIDTH}" height="{height:g}" rx="8" style="fill: var(--page)"/>\n{body}\n</svg>\n'
        )


def wrapped(words: str, width: float, size: float, letter: float = SANS) -> list[str]:
    """Return the lines of a text, none wider than ``width``."""
    return textwrap.wrap(words, int(width / (size * letter)), break_on_hyphens=False) if words else []
