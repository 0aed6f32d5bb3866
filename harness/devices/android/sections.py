"""Parse the output of the device's scripts: named sections, and files with their names before each line."""

from __future__ import annotations

import re

_CPU = re.compile(r"/cpu(\d+)/")
_NOISE = re.compile(
    r"(?:WARNING: )?linker: "  # a missing or odd linker configuration, unused entries of a vendor's library
    r"|libc: (?:Access denied finding property|Could not find context for property|Unable to set property)"
    r"|ERROR: ld\.so: object "
    r"|(?:/\S*/)?sh: (?:\S+: )?(?:No controlling tty|warning: won't have full job control)"
)
"""Matches lines that linkers, libraries and vendors' shells print beside every program's own output."""
MOST_CORES = 4096
_NO_NUMBER = (-(2**31), 2**31 - 1)
"""The values of Java code for a missing number."""


def without_noise(text: str) -> str:
    """Return the text without the lines of linkers, libraries and shells."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line for line in lines if not _NOISE.match(line.strip()))


def sections(text: str, mark: str = "#") -> dict[str, str]:
    """Return the text under each ``#name`` line, without that line and without noise."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in without_noise(text).split("\n"):
        if line.startswith(mark) and line[1:].isidentifier():
            lines = found.setdefault(line[1:], [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def whole_number(text: str) -> int | None:
    """Return a decimal number in ASCII; None for anything else and for the two that mean a missing number."""
    text = text.strip()
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        return None
    number = int(text)
    return None if number in _NO_NUMBER else number


def last_line(text: str) -> str:
    """Return the last line that is not empty: a command's printed value, after any messages."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def by_core(text: str) -> dict[int, str]:
    """Return the value of each core.

    Lines are like ``/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor:schedutil``.
    """
    values = {}
    for line in text.splitlines():
        path, colon, value = line.partition(":")
        core = _CPU.search(path)
        if colon and core and value.strip():
            values[int(core[1])] = value.strip()
    return values


def numbers_by_core(text: str) -> dict[int, int]:
    """Return each core's value if it is a whole number above 0; others are left out."""
    numbers = {core: whole_number(value) for core, value in by_core(text).items()}
    return {core: number for core, number in numbers.items() if number is not None and number > 0}


def cores_of(ranges: str) -> list[int]:
    """Return ``0-3,7`` as numbers; empty if it is no list of cores."""
    cores: list[int] = []
    for part in ranges.strip().split(","):
        first, dash, last = part.strip().partition("-")
        begin, end = whole_number(first), whole_number(last if dash else first)
        if begin is None or end is None or not 0 <= begin <= end < MOST_CORES:
            return []
        cores += range(begin, end + 1)
    return cores


def ranges_of(cores: list[int]) -> str:
    """Return a list of cores as text, the opposite of :func:`cores_of`."""
    parts: list[list[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
