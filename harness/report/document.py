"""A report as headings, lines and tables, before it is known whether it goes to a terminal or to Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Tone(str, Enum):
    """How a line is meant."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Line:
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Table:
    """``header`` and ``rows`` have the same width; the first column is left-aligned, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str | None = None
    """What the figures mean, below the table."""
    numbers: bool = True
    """False for a table of words, whose columns are all left-aligned."""


Block = Heading | Line | Table
