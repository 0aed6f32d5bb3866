"""The texts that the device's scripts print: named sections, and files with their names in front of each line."""

from __future__ import annotations

import re

_CPU = re.compile(r"/cpu(\d+)/")
_NOISE = re.compile(
    r"(?:WARNING: )?linker: "  # a missing or odd linker configuration, unused entries of a vendor's library
    r"|libc: (?:Access denied finding property|Could not find context for property|Unable to set property)"
    r"|ERROR: ld\.so: object "
    r"|(?:/\S*/)?sh: (?:\S+: )?(?:No controlling tty|warning: won't have full job control)"
)
"""How lines begin that linkers, libraries and vendors' shells print beside every program's own output."""
MOST_CORES = 4096
_NO_NUMBER = (-(2**31), 2**31 - 1)
"""What Java code says where it has no number."""


def without_noise(text: str) -> str:
    """The text without the lines that no program it came from has written."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line for line in lines if not _NOISE.match(line.strip()))


def sections(text: str, mark: str = "#") -> dict[str, str]:
    """What stands under each ``#name`` line, without it and without noise."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in without_noise(text).split("\n"):
        if line.startswith(mark) and line[1:].isidentifier():
            lines = found.setdefault(line[1:], [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def whole_number(text: str) -> int | None:
    """A decimal number in ASCII; None for anything else and for the two that mean there is none."""
    text = text.strip()
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20):
        return None
    number = int(text)
    return None if number in _NO_NUMBER else number


def last_line(text: str) -> str:
    """The last line that is not empty: what a command that prints one value printed, behind any words before it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def by_core(text: str) -> dict[int, str]:
    """Core number to value, of lines like ``/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor:schedutil``."""
    values = {}
    for line in text.splitlines():
        path, colon, value = line.partition(":")
        core = _CPU.search(path)
        if colon and core and value.strip():
            values[int(core[1])] = value.strip()
    return values


def numbers_by_core(text: str) -> dict[int, int]:
    """The same for whole numbers above 0; anything else is left out."""
    numbers = {core: whole_number(value) for core, value in by_core(text).items()}
    return {core: number for core, number in numbers.items() if number is not None and number > 0}


def cores_of(ranges: str) -> list[int]:
    """``0-3,7`` as numbers; empty for what is no list of cores."""
    cores: list[int] = []
    for part in ranges.strip().split(","):
        first, dash, last = part.strip().partition("-")
        begin, end = whole_number(first), whole_number(last if dash else first)
        if begin is None or end is None or not 0 <= begin <= end < MOST_CORES:
            return []
        cores += range(begin, end + 1)
    return cores


def ranges_of(cores: list[int]) -> str:
    """The opposite of :func:`cores_of`."""
    parts: list[list[int]] = []
    for core in sorted(cores):
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
