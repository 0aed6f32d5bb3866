"""Define a report as headings, lines and tables, for a terminal, for Markdown, or for a page.

All text of a report passes through this module, which makes it safe to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from harness.core.text import shown, shown_line


class Tone(str, Enum):
    """Name the meaning of a line."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Heading:
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", shown_line(self.text))


@dataclass(frozen=True)
class Line:
    text: str
    tone: Tone = Tone.PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", shown(self.text))


@dataclass(frozen=True)
class Table:
    """Hold a table. ``header`` and ``rows`` have the same width; the first column is left-aligned, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str | None = None
    """The explanation of the figures, shown below the table."""
    numbers: bool = True
    """False for a table of words; all its columns are left-aligned."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", [shown_line(title) for title in self.header])
        object.__setattr__(self, "rows", [[shown(cell) for cell in row] for row in self.rows])
        object.__setattr__(self, "note", None if self.note is None else shown(self.note))


Block = Heading | Line | Table
