"""Make labels of a device's facts: what a selector may ask for."""

from __future__ import annotations

import re
from typing import Any

from harness.core.text import shown_line

MOST_CHARACTERS = 200
_VERSION = re.compile(r"\d+(\.\d+)*")
Label = str | int | float | bool | list[str]


def labels_of(name: str, host: str, serial: str, target: str, facts: dict[str, Any]) -> dict[str, Label]:
    """Return the labels of a phone; a fact that is not known gives no label."""
    memory = facts.get("memory_bytes")
    found: dict[str, Label | None] = {
        "name": name,
        "host": host,
        "serial": serial,
        "kind": _text(facts.get("kind")),
        "target": target,
        "model": _text(facts.get("model")) or _text(facts.get("cpu_model")),
        "maker": _text(facts.get("manufacturer")),
        "soc": _words(_text(facts.get("soc"))),
        "cpu": _text(facts.get("cpu_model")),
        "os": _version(facts),
        "system": _text(facts.get("os")),
        "ram_gb": round(memory / 2**30, 1) if isinstance(memory, int) else None,
        "abi": [text for one in facts.get("abis") or () if (text := _text(one))] or None,
        "arch": _text(facts.get("arch")),
        "features": [text for one in facts.get("cpu_features") or () if (text := _text(one))] or None,
        "mode": _text(facts.get("android_mode")),
        "emulated": bool(facts.get("emulated")),
    }
    return {key: value for key, value in found.items() if value is not None}


def labels_of_conditions(conditions: dict[str, Any]) -> dict[str, Label]:
    """Return the labels that change: the battery's level and health, and the free storage."""
    found: dict[str, Label] = {}
    percent, free = conditions.get("battery_percent"), conditions.get("storage_free_bytes")
    if isinstance(percent, int):
        found["battery"] = percent
    if (health := _text(conditions.get("battery_health"))) is not None:
        found["battery_health"] = health
    for key in ("battery_health_percent", "battery_cycles"):
        if isinstance(value := conditions.get(key), int):
            found[key] = value
    if isinstance(free, int):
        found["storage_gb"] = round(free / 2**30, 1)
    return found


def _text(value: object) -> str | None:
    return shown_line(value, most=MOST_CHARACTERS) or None if isinstance(value, str) else None


def _words(text: str | None) -> list[str] | None:
    """Return a chip's full name and its last word: ``QTI SM8650`` is found by ``soc=sm8650``."""
    return list(dict.fromkeys([text, text.split()[-1]])) if text and text.split() else None


def _version(facts: dict[str, Any]) -> str | None:
    for key in ("android_version", "ios_version", "os"):
        if match := _VERSION.search(_text(facts.get(key)) or ""):
            return match[0]
    return None
