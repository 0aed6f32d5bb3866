"""Warn a reader who judges a device's times: what was throttled, denied, lost, or left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.devices.base import Knob
from harness.results import OrderEntry
from harness.results.journal import Journal, RunLine, UnitPlan

CLOCK_DROP = 0.9
"""A clock that fell below this share of its highest value during a run is reported."""
GHZ = 1e6
"""Kilohertz in a gigahertz."""


def order_warnings(order: OrderEntry) -> Iterator[str]:
    """Yield the warnings about one order of a run, a sentence each."""
    before, after, seen = order.conditions_before, order.conditions_after, order.observed
    if not order.complete:
        yield f"the order did not complete: {order.reason or 'it has not ended'}"
    if order.resumed:
        yield f"the device was lost and came back ({order.resumed} times); the order resumed where it had stopped"
    if highest := thermal_status(before, after, seen):
        yield f"the device throttled: thermal status {highest}"
    for core, low, high in fallen_clocks(seen):
        yield f"core {core}'s clock went between {low / GHZ:.2f} and {high / GHZ:.2f} GHz"
    yield from _lowered([before, after])
    process = seen.get("process")
    cpuset = process.get("cpuset") if isinstance(process, dict) else None
    if isinstance(cpuset, str) and "background" in cpuset:
        yield f"Android ran it in the background: cpuset {cpuset}"
    yield from knob_warnings(order.knobs)


def nightly_warnings(lines: Sequence[RunLine]) -> Iterator[str]:
    """Yield the warnings about all runs of one unit of a nightly run, in the order of the runs."""
    hot = [found for line in lines if (found := thermal_status(line.conditions, line.observed))]
    if hot:
        yield f"the device throttled in {len(hot)} of {len(lines)} runs: thermal status up to {max(hot)}"
    cores: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for core, low, high in fallen_clocks(line.observed):
            cores.setdefault(core, []).append((low, high))
    for core, bounds in cores.items():
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        yield (
            f"core {core}'s clock went between {low / GHZ:.2f} and {high / GHZ:.2f} GHz "
            f"(in {len(bounds)} of {len(lines)} runs)"
        )
    yield from _lowered([line.conditions for line in lines])
    warnings = Counter(warning for line in lines for warning in knob_warnings(line.knobs))
    yield from (f"{warning} (in {count} of {len(lines)} runs)" for warning, count in warnings.items())


def runs_of(journal: Journal, unit: str) -> list[RunLine]:
    """Return both sides' runs of all whole pairs of a unit, in the order in which they ran."""
    return sorted((line for pair in journal.all_pairs(unit) for line in pair), key=lambda line: line.started)


def record_warnings(units: Sequence[UnitPlan], journal: Journal) -> list[str]:
    """Return the warnings about all units of a nightly run, with the units' names if there are several."""
    warnings = [(unit.name, text) for unit in units for text in nightly_warnings(runs_of(journal, unit.name))]
    return [f"{name}: {text}" if len(units) > 1 else text for name, text in warnings]


def knob_warnings(knobs: Sequence[Knob]) -> Iterator[str]:
    for knob in knobs:
        if knob.state != "applied":
            yield f"{knob.name.replace('_', ' ')} was {knob.state}{': ' + knob.detail if knob.detail else ''}"
        elif knob.restored is False:
            yield f"{knob.name.replace('_', ' ')} was not restored"


def thermal_status(*readings: Mapping[str, Any]) -> int:
    """Return the highest thermal status in these conditions and observations; 0 means none."""
    keys = ("thermal_status", "thermal_status_highest")
    found = (one.get(key) for one in readings for key in keys)
    return max((status for status in found if isinstance(status, int)), default=0)


def fallen_clocks(observed: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield the cores whose clock fell during the run, with the lowest and the highest value in kHz."""
    clocks = observed.get("clock_khz")
    for core, clock in clocks.items() if isinstance(clocks, dict) else ():
        low, high = (clock.get("min"), clock.get("max")) if isinstance(clock, dict) else (None, None)
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < CLOCK_DROP * high:
            yield core, low, high


def _lowered(conditions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a warning for each core whose clock limit was lowered since the first look."""
    limits = [found for one in conditions if isinstance(found := one.get("clock_limit_khz"), dict)]
    for core, first in limits[0].items() if limits else ():
        later = [limit for found in limits if isinstance(limit := found.get(core), (int, float))]
        if isinstance(first, (int, float)) and min(later) < first:
            yield f"core {core}'s highest clock was lowered from {first / GHZ:.2f} to {min(later) / GHZ:.2f} GHz"
