"""Read what changes from run to run: temperature, battery, clocks, memory; and judge whether the device is fit."""

from __future__ import annotations

import re
from typing import Any

from harness.devices.android.sections import by_core, last_line, numbers_by_core, sections, whole_number
from harness.devices.battery import battery_unfit

THERMAL_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
SEVERE = 3
_SKIN = 3
"""A sensor's type, ``android.os.Temperature.TYPE_SKIN``. Cooling devices use the same numbers for their types."""
_SENSOR = re.compile(r"^\s*Temperature\{mValue=(?P<celsius>[^,]+), mType=(?P<type>-?\d+), mName=.*\}\s*$", re.MULTILINE)
_HAL = "Current temperatures from HAL:"
_COLDEST, _HOTTEST = -30.0, 120.0
"""The range in °C for the outside of a device or its battery; a value outside it has another unit, or no meaning."""
_CHARGING = {
    1: "unknown",
    2: "charging",
    3: "discharging",
    4: "not charging",
    5: "full",
}  # BatteryManager.BATTERY_STATUS_*
_HEALTH = {
    2: "good",
    3: "overheat",
    4: "dead",
    5: "over voltage",
    6: "failure",
    7: "cold",
}  # BatteryManager.BATTERY_HEALTH_*; 1 stands for an unknown one


def parse_conditions(text: str) -> dict[str, Any]:
    """Return the conditions from the whole output of ``conditions.sh``; None for what the device does not report.

    Temperatures are in °C, clocks in kHz by core, memory in bytes, battery level in percent. ``thermal_headroom`` is
    the forecast for 20 seconds: at 1.0 the device throttles severely.
    """
    found = sections(text)
    battery = _battery(found.get("battery", ""))
    thermal = found.get("thermal", "")
    return {
        "thermal_status": thermal_status(thermal),
        "thermal_headroom": _headroom(found.get("headroom", "")),
        "skin_celsius": _skin(thermal),
        **battery,
        "governors": _text_by_core(found.get("governors", "")),
        "clock_khz": {str(core): khz for core, khz in numbers_by_core(found.get("clocks", "")).items()} or None,
        "clock_limit_khz": {str(core): khz for core, khz in numbers_by_core(found.get("limits", "")).items()} or None,
        "memory_free_bytes": _memory(found.get("memory", "")),
        "load_1min": _load(found.get("load", "")),
        "airplane_mode": {"0": False, "1": True}.get(last_line(found.get("airplane", ""))),
    }


def unfit(conditions: dict[str, Any]) -> str | None:
    """Return why a device in these conditions should not be measured yet, or None. Unknown values are no reason."""
    status = conditions.get("thermal_status")
    if status:
        return f"its thermal status is {THERMAL_NAMES[min(status, 6)]} ({status})"
    return battery_unfit(conditions)


def thermal_status(text: str) -> int | None:
    """Return 0 (none) to 6 (shutdown) from ``dumpsys thermalservice``; Android 9 and older have no such service."""
    match = re.search(r"^\s*Thermal Status:\s*([0-6])\s*$", text, re.MULTILINE)
    return int(match[1]) if match else None


def _skin(text: str) -> float | None:
    """Return the highest skin temperature: the hardware's current reading if there is one, else the cached one."""
    _, heading, current = text.rpartition(_HAL)
    for part in (current, text) if heading else (text,):
        sensors = list(_SENSOR.finditer(part))
        if sensors:
            readings = (_celsius(sensor["celsius"]) for sensor in sensors if int(sensor["type"]) == _SKIN)
            return max((reading for reading in readings if reading is not None), default=None)
    return None


def _celsius(text: str) -> float | None:
    """Return a temperature; None for an impossible value. A sensor that is not fitted has exactly 0.0."""
    try:
        celsius = float(text)
    except ValueError:
        return None
    return celsius if _COLDEST <= celsius <= _HOTTEST and celsius != 0 else None


def _headroom(text: str) -> float | None:
    # Some devices answer with the bare number, others with words before it; NaN means "not known yet".
    match = re.search(r"(?:^|[\s:=])(\d{1,3}\.\d+)\s*$", last_line(text))
    return float(match[1]) if match else None


def _battery(text: str) -> dict[str, Any]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())

    def number(name: str) -> int | None:
        return whole_number(fields.get(name, ""))

    # A board or a television has no battery. After `dumpsys battery set …` the numbers are whatever somebody set.
    reported = fields.get("present") != "false" and "(UPDATES STOPPED" not in text
    level, scale, tenths, status = number("level"), number("scale"), number("temperature"), number("status")
    health = number("health")
    full = 100 if scale is None or scale <= 0 else scale
    sources = [
        name.removesuffix(" powered") for name, value in fields.items() if name.endswith(" powered") and value == "true"
    ]
    return {
        "battery_percent": round(100 * level / full) if reported and level is not None and 0 <= level <= full else None,
        "battery_celsius": _celsius(str(tenths / 10)) if reported and tenths is not None else None,
        "charging": _CHARGING.get(status) if reported and status is not None else None,
        "battery_health": _HEALTH.get(health) if reported and health is not None else None,
        "powered_by": ", ".join(sources) or None,
    }


def _text_by_core(text: str) -> dict[str, str] | None:
    return {str(core): value for core, value in by_core(text).items()} or None


def _memory(text: str) -> int | None:
    for name in ("MemAvailable", "MemFree"):
        match = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
        if match:
            return int(match[1]) * 1024
    return None


def _load(text: str) -> float | None:
    match = re.match(r"\d+\.\d+", text)
    return float(match[0]) if match else None
