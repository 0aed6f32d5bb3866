"""Parse and format ages and sizes as a person writes them."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

AGE, SIZE = "AGE", "SIZE"
_AGES = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TEXT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([A-Za-z]*)")


def parse_age(text: str) -> timedelta:
    """Return the time for a text such as ``30d`` or ``12h``; raises typer.BadParameter."""
    found = _TEXT.fullmatch(text)
    if not found or found[2] not in _AGES:
        raise typer.BadParameter(f"{text!r} is no age; write 30d, 12h, 45m or 2w")
    try:
        return timedelta(seconds=float(found[1]) * _AGES[found[2]])
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long ago") from None


def parse_size(text: str) -> int:
    """Return the bytes for a text such as ``5G`` or ``500M``; raises typer.BadParameter."""
    found = _TEXT.fullmatch(text)
    unit = found[2].upper().removesuffix("IB").removesuffix("B") if found else "?"
    if not found or unit not in _SIZES:
        raise typer.BadParameter(f"{text!r} is no size; write 5G, 500M or a number of bytes")
    return int(float(found[1]) * _SIZES[unit])


def size_text(count: int) -> str:
    """Return a number of bytes in a person's form."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"
