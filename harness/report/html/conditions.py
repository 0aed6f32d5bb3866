"""What a device was like while it was timed, and what a reader should know before believing the times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.devices.base import Knob
from harness.report.figures import plain
from harness.report.html.views import View
from harness.results import OrderEntry

CLOCK_DROP = 0.9
"""A clock below this share of its highest while the runner ran is told."""
BYTES, KHZ = "_bytes", "_khz"


@dataclass(frozen=True)
class Condition:
    name: str
    before: str
    after: str
    changed: bool


@dataclass(frozen=True)
class OrderConditions:
    variant: str
    conditions: list[Condition]
    observed: list[tuple[str, str]]
    knobs: list[Knob]
    warnings: list[str]


def order_conditions(view: View) -> list[OrderConditions]:
    """Of every latency order."""
    return [
        OrderConditions(
            variant=order.variant,
            conditions=list(_conditions(order)),
            observed=[(_label(key), _value(key, value)) for key, value in order.observed.items() if value is not None],
            knobs=order.knobs,
            warnings=list(warnings(order)),
        )
        for order in view.latency_orders
    ]


def warnings(order: OrderEntry) -> Iterator[str]:
    """What was throttled, denied, lost or left behind, a sentence each."""
    before, after, seen = order.conditions_before, order.conditions_after, order.observed
    if not order.complete:
        yield f"the order did not complete: {order.reason or 'it has not ended'}"
    if order.resumed:
        yield f"the device was lost and came back ({order.resumed} times); the order went on where it had stopped"
    highest = max((status for status in _statuses(before, after, seen)), default=0)
    if highest > 0:
        yield f"the device throttled: thermal status {highest}"
    for core, clock in _dicts(seen.get("clock_khz")):
        low, high = clock.get("min"), clock.get("max")
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < CLOCK_DROP * high:
            yield f"core {core}'s clock went between {low / 1e6:.2f} and {high / 1e6:.2f} GHz"
    limits, later = before.get("clock_limit_khz"), after.get("clock_limit_khz")
    if isinstance(limits, dict) and isinstance(later, dict):
        for core, limit in limits.items():
            now = later.get(core)
            if isinstance(limit, (int, float)) and isinstance(now, (int, float)) and now < limit:
                yield f"core {core}'s highest clock was lowered from {limit / 1e6:.2f} to {now / 1e6:.2f} GHz"
    for knob in order.knobs:
        if knob.state != "applied":
            yield f"{knob.name.replace('_', ' ')} was {knob.state}{': ' + knob.detail if knob.detail else ''}"
        elif knob.restored is False:
            yield f"{knob.name.replace('_', ' ')} was not restored"


def _statuses(before: dict[str, Any], after: dict[str, Any], seen: dict[str, Any]) -> Iterator[int]:
    found = (before.get("thermal_status"), after.get("thermal_status"), seen.get("thermal_status_highest"))
    yield from (status for status in found if isinstance(status, int))


def _dicts(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield from ((key, found) for key, found in value.items() if isinstance(found, dict))


def _conditions(order: OrderEntry) -> Iterator[Condition]:
    before, after = order.conditions_before, order.conditions_after
    for key in [*before, *(key for key in after if key not in before)]:
        one, other = before.get(key), after.get(key)
        if one is not None or other is not None:
            yield Condition(_label(key), _value(key, one), _value(key, other), one != other and bool(after))


def _label(key: str) -> str:
    for ending, unit in ((BYTES, ", MB"), (KHZ, ", MHz")):
        if key.endswith(ending):
            return key.removesuffix(ending).replace("_", " ") + unit
    words = {"celsius": "°C", "percent": "%", "mhz": "MHz", "c": "°C", "1min": "1 min", "ms": "ms"}
    return " ".join(words.get(word, word) for word in key.split("_"))


def _value(key: str, value: object) -> str:
    scale = 1e6 if key.endswith(BYTES) else 1e3 if key.endswith(KHZ) else None
    return plain(_scaled(value, scale) if scale else value)


def _scaled(value: object, scale: float) -> object:
    if isinstance(value, dict):
        return {key: _scaled(found, scale) for key, found in value.items()}
    return round(value / scale) if isinstance(value, (int, float)) else value
