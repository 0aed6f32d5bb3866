"""Format a device's conditions during timing for a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.devices.base import Knob
from harness.report.conditions import order_warnings
from harness.report.figures import plain
from harness.report.html.views import View
from harness.results import OrderEntry

BYTES, KHZ = "_bytes", "_khz"


@dataclass(frozen=True)
class Condition:
    name: str
    before: str
    after: str
    changed: bool


@dataclass(frozen=True)
class OrderConditions:
    name: str
    """The name of the timed variant or workload."""
    conditions: list[Condition]
    observed: list[tuple[str, str]]
    knobs: list[Knob]
    warnings: list[str]


def order_conditions(view: View) -> list[OrderConditions]:
    """Return the conditions of every latency order."""
    return [
        OrderConditions(
            name=order.name,
            conditions=list(_conditions(order)),
            observed=[(_label(key), _value(key, value)) for key, value in order.observed.items() if value is not None],
            knobs=order.knobs,
            warnings=list(order_warnings(order)),
        )
        for order in view.latency_orders
    ]


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
