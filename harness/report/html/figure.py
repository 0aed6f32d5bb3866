"""Build plotly figures as data. Colours and fonts come from the page, so that it can switch between light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY = -1
"""The colour of data for comparison, such as PyTorch's times."""


@dataclass(frozen=True)
class Figure:
    """Describe a picture: a sentence about it, and the data and layout from which plotly draws it.

    A trace's ``meta.series`` is the number of its colour, ``meta.alpha`` that of its fill.
    """

    title: str
    summary: str
    """One sentence with the main figures, for readers who cannot see the picture."""
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    note: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    """The names of the traces' keys in the CSV file."""


def numbers(values: Iterable[float] | NDArray[Any], digits: int = 6) -> list[float | None]:
    """Return numbers for JSON: only visible significant digits, and None for a number that is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in np.asarray(values, dtype=float)]


def log_axis(low: float, high: float, title: str) -> dict[str, Any]:
    """Return a logarithmic axis with round numbers as ticks, however narrow it is; the values are positive."""
    # This leaves room for the marks at both ends, in proportion to the axis.
    room = max((high / low) ** 0.03, 1.01)
    low, high = low / room, high * room
    ticks = log_ticks(low, high)
    return {
        "type": "log",
        "title": {"text": title},
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


_COARSE: tuple[Sequence[float], ...] = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.5, 2, 3, 4, 5, 7),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 3, 5, 7),
    (1, 2, 5),
    (1, 3),
    (1,),
)
NARROW = 2.5
"""Up to this ratio of its ends an axis has ticks at equal steps, because a logarithm hardly bends it."""


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return at most ``most`` round numbers within the bounds; a narrower range gets finer ones."""
    if high / low <= NARROW:
        return _equal_steps(low, high, most)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _COARSE:
        ticks = [float(f"{step * 10**decade:.6g}") for decade in decades for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return [float(f"{10**decade:.6g}") for decade in list(decades)[:: max(1, len(decades) // most + 1)]]


def _equal_steps(low: float, high: float, most: int) -> list[float]:
    """Return multiples of the smallest of 1, 2, 5, 10, … that gives few enough ticks."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (round_number * power for round_number in (1, 2, 5, 10, 20))
    step = next(step for step in steps if math.floor(high / step) - math.ceil(low / step) < most)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [float(f"{place * step:.10g}") for place in places]


def height(rows: int, each: int = 56, around: int = 90) -> int:
    """Return the height in pixels of a picture with so many rows."""
    return rows * each + around
