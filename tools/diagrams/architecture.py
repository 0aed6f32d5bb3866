"""Draw the rooms of the code as layers, from the contract that import-linter checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tools.diagrams.drawing import WIDTH, Drawing, wrapped

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {
    "blue": ("cli", "suites", "conformance", "pytest_plugin"),
    "violet": ("regression", "report", "explain"),
    "green": ("run", "profiling", "results"),
    "amber": ("virtual", "lab", "devices", "native"),
    "red": ("compiler", "models"),
    "grey": ("measure", "validate", "protocol", "core"),
}
"""Every room's colour. Rooms of one colour do one kind of work."""
KINDS = {
    "blue": "what a person uses",
    "violet": "judging",
    "green": "a run",
    "amber": "devices",
    "red": "the model",
    "grey": "used by all",
}
_LAYER = re.compile(r'^\s+"(?P<rooms>[a-z_ |]+)",\s+# (?P<words>.+)$')


@dataclass(frozen=True)
class Layer:
    """Hold the rooms that stand side by side, and what the contract writes about them."""

    rooms: tuple[str, ...]
    words: str


def layers(pyproject: Path = ROOT / "pyproject.toml") -> list[Layer]:
    """Return the layers of the first contract, from the top."""
    contracts = pyproject.read_text(encoding="utf-8").split("[[tool.importlinter.contracts]]")
    found = (_LAYER.match(line) for line in contracts[1].split("layers = [")[1].splitlines())
    return [Layer(tuple(one["rooms"].split(" | ")), one["words"]) for one in found if one]


def colour_of(room: str) -> str:
    """Return a room's colour; raises StopIteration if ``COLOURS`` lacks it."""
    return next(colour for colour, rooms in COLOURS.items() if room in rooms)


def architecture() -> str:
    drawing = Drawing(
        "The rooms of the code",
        "Fifteen layers. A room imports only from layers below its own: " + "; ".join(one.words for one in layers()),
    )
    x, y = 12.0, 10.0
    for colour, words in KINDS.items():
        width = len(words) * 6 + 14
        if x + width > WIDTH - 12:
            x, y = 12.0, y + 24
        drawing.box(x, y, width, 19, fill=colour, line=colour)
        drawing.text(x + width / 2, y + 13.5, words, size=10, anchor="middle", ink=f"{colour}-ink")
        x += width + 5
    drawing.text(12, y + 37, "A room imports only from rooms below it. CI checks this.", size=11.5, style="dim")
    y += 46
    for layer in layers():
        lines = wrapped(layer.words, WIDTH - 48, 11)
        height = 25 + 14 * len(lines) + 5
        colour = colour_of(layer.rooms[0])
        drawing.box(12, y, WIDTH - 24, height, fill=colour, line=colour)
        drawing.text(22, y + 19, " · ".join(layer.rooms), size=13, style="mono bold", ink=f"{colour}-ink")
        for at, line in enumerate(lines):
            drawing.text(22, y + 34 + 14 * at, line, size=11, ink=f"{colour}-ink")
        y += height + 5
    return drawing.svg(y + 7)
