"""Parse what Android makes of the runner's process, from the files that the device's scripts and the app note."""

from __future__ import annotations

import math
import re
from typing import Any

from harness.devices.android.sections import sections, whole_number

_POLICIES = {0: "other", 1: "fifo", 2: "round robin", 3: "batch", 5: "idle", 6: "deadline"}
"""Linux's numbers of scheduling policies."""
_PRIORITY, _NICE, _POLICY = 15, 16, 38
"""Places in ``/proc/PID/stat`` behind the name in brackets."""
_MOST_WORDS = 300


def parse_process(text: str) -> dict[str, Any] | None:
    """Return the runner's scheduling: ``cpuset``, ``groups`` (by controller), ``oom_score_adj``, ``nice``,
    ``priority``, ``policy``, ``cores`` and ``timer_slack_ns``. What the device does not report is None; None without
    anything.
    """
    found = sections(text, "@")
    if not any(found.values()):
        return None
    stat = found.get("stat", "").rpartition(")")[2].split()
    policy = _field(stat, _POLICY)
    cores = re.search(r"^Cpus_allowed_list:\s*(\S+)", found.get("status", ""), re.MULTILINE)
    return {
        "cpuset": found.get("cpuset") or None,
        "groups": _groups(found.get("cgroup", "")),
        "oom_score_adj": whole_number(found.get("oom_score_adj", "")),
        "nice": _field(stat, _NICE),
        "priority": _field(stat, _PRIORITY),
        "policy": None if policy is None else _POLICIES.get(policy, str(policy)),
        "cores": cores[1] if cores else None,
        "timer_slack_ns": whole_number(found.get("timerslack_ns", "")),
    }


def parse_granted(system: str, game: str) -> dict[str, Any] | None:
    """Return what the system grants the app: ``hint_rate_ns`` (None: no hints of performance), ``thermal_status``,
    ``headroom`` (forecast for 10 seconds), ``game_mode`` (Android's words). None without anything, as in a shell.
    """
    found = sections(system, "@")
    words = " ".join(game.split())[:_MOST_WORDS] or None
    if not any(found.values()) and words is None:
        return None
    rate = whole_number(found.get("hint_rate_ns", ""))
    return {
        "hint_rate_ns": rate if rate is not None and rate > 0 else None,
        "thermal_status": whole_number(found.get("thermal_status", "")),
        "headroom": _headroom(found.get("headroom", "")),
        "game_mode": words,
    }


def _groups(text: str) -> dict[str, str]:
    """Return the control groups by controller; the unified hierarchy of version 2 has the name ``unified``."""
    groups = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number.isdigit() and path.startswith("/"):
            groups[names or "unified"] = path
    return groups


def _field(stat: list[str], place: int) -> int | None:
    return whole_number(stat[place]) if len(stat) > place else None


def _headroom(text: str) -> float | None:
    """Return the number; None for a device that cannot forecast, which answers NaN."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
