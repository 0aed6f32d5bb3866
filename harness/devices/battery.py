"""Judge by its battery whether a phone can be measured now."""

from __future__ import annotations

from typing import Any

MAX_CELSIUS = 37.0
MIN_PERCENT = 30


def battery_unfit(conditions: dict[str, Any]) -> str | None:
    """Return why a phone should not be measured yet, by ``battery_celsius`` and ``battery_percent``, or None.

    Unknown values are no reason.
    """
    celsius = conditions.get("battery_celsius")
    if celsius is not None and celsius > MAX_CELSIUS:
        return f"its battery has {celsius:.1f} °C, more than {MAX_CELSIUS:.0f} °C"
    level = conditions.get("battery_percent")
    if level is not None and level < MIN_PERCENT:
        return f"its battery is at {level} %, below {MIN_PERCENT} %"
    return None
