"""The texts that the device's scripts print: named sections, and files with their names in front of each line."""

from __future__ import annotations

import re

_CPU = re.compile(r"/cpu(\d+)/")


def sections(text: str, mark: str = "#") -> dict[str, str]:
    """What stands under each ``#name`` line, without it."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith(mark) and line[1:].isidentifier():
            lines = found.setdefault(line[1:], [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


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
    """The same for whole numbers; anything else is left out."""
    return {core: int(value) for core, value in by_core(text).items() if value.isdigit()}


def cores_of(ranges: str) -> list[int]:
    """``0-3,7`` as numbers; empty for what is no list of cores."""
    cores: list[int] = []
    for part in ranges.strip().split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            return []
        cores += range(int(first), int(last or first) + 1)
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
