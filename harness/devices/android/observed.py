"""Parse the device's observations during a run, from the output of ``finish.sh``."""

from __future__ import annotations

import statistics
from typing import Any

from harness.devices.android.process import parse_granted, parse_process
from harness.devices.android.sections import sections, whole_number


def parse_observed(text: str) -> tuple[dict[str, Any], str, str]:
    """Return the observations, the runner's ``Cpus_allowed_list`` line, and the output of undoing the knobs.

    The observations are ``clock_khz`` (by core: lowest, median and highest of the looks), ``clock_looks``,
    ``thermal_status_highest``, ``time_in_state_ms`` (by policy: milliseconds at each clock in kHz during the run), and
    ``process`` and ``granted`` (see :mod:`harness.devices.android.process`).
    """
    found = sections(text)
    looks = [line.split() for line in found.get("clocks", "").splitlines()]
    statuses = [
        whole_number(line.split()[1]) for line in found.get("thermal", "").splitlines() if len(line.split()) == 2
    ]
    highest = [status for status in statuses if status is not None]
    observed = {
        "clock_looks": len(looks),
        "clock_khz": _clocks(looks),
        "thermal_status_highest": max(highest, default=None),
        "time_in_state_ms": _states(found.get("states_before", ""), found.get("states_after", "")),
        "process": parse_process(found.get("process", "")),
        "granted": parse_granted(found.get("system", ""), found.get("game", "")),
    }
    return observed, found.get("allowed", ""), found.get("restore", "")


def _clocks(looks: list[list[str]]) -> dict[str, dict[str, int]] | None:
    cores: dict[str, dict[str, int]] = {}
    for core in range(max((len(look) - 1 for look in looks), default=0)):
        clocks = [whole_number(look[core + 1]) for look in looks if len(look) > core + 1]
        seen = [khz for khz in clocks if khz is not None and khz > 0]
        if seen:
            cores[str(core)] = {"min": min(seen), "median": round(statistics.median(seen)), "max": max(seen)}
    return cores or None


def _states(before: str, after: str) -> dict[str, dict[str, int]] | None:
    """Return the milliseconds at each clock.

    The kernel counts in units of ten milliseconds since the policy was made.
    """
    began, ended = _counts(before), _counts(after)
    changed: dict[str, dict[str, int]] = {}
    for (policy, khz), count in ended.items():
        delta = count - began.get((policy, khz), 0)
        if delta > 0:
            changed.setdefault(policy, {})[khz] = delta * 10
    return changed or None


def _counts(text: str) -> dict[tuple[str, str], int]:
    counts = {}
    for line in text.splitlines():
        path, _, state = line.partition(":")
        parts = state.split()
        numbers = [whole_number(part) for part in parts]
        if len(parts) == 2 and numbers[0] is not None and numbers[1] is not None:
            policy = next((part for part in path.split("/") if part.startswith("policy")), path)
            counts[policy, parts[0]] = numbers[1]
    return counts
