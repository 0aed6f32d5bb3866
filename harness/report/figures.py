"""Format numbers for people."""

from __future__ import annotations

from datetime import datetime, timezone

DASH = "–"


def duration(nanoseconds: float | None) -> str:
    """Return three significant digits with a suitable unit: ``417 µs``, ``1.38 ms``, ``2.05 s``."""
    if nanoseconds is None:
        return DASH
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        # The unit changes half a digit earlier, because 999.6 µs would be rounded to 1000 µs.
        if abs(nanoseconds) >= 0.9995 * size:
            return f"{digits(nanoseconds / size)} {unit}"
    return f"{digits(nanoseconds)} ns"


def digits(value: float) -> str:
    """Return three significant digits without an exponent."""
    if value == 0:
        return "0"
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{places}f}" if abs(value) >= 0.995 else f"{value:.3g}"


def milliseconds(nanoseconds: float | None) -> str:
    return DASH if nanoseconds is None else f"{nanoseconds / 1e6:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of nanoseconds in milliseconds."""
    return "" if low is None or high is None else f" [{milliseconds(low)}, {milliseconds(high)}]"


def ratio(value: float, low: float | None = None, high: float | None = None) -> str:
    """Return a ratio as ``×1.05 [1.04, 1.06]``."""
    bounds = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"×{value:.3f}{bounds}"


def megabytes(count: float | None) -> str:
    return DASH if count is None else f"{count / 1e6:.1f} MB"


def rate(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def margin(value: float | None) -> str:
    return DASH if value is None else f"{value:.2g}"


def plain(value: object) -> str:
    """Return a JSON value as a table's cell."""
    if value is None:
        return DASH
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(found)}" for key, found in value.items())
    if isinstance(value, list):
        return ", ".join(plain(found) for found in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def moment(unix_s: int) -> str:
    """Return seconds since 1970 as a date and a time of day, in UTC."""
    return f"{datetime.fromtimestamp(unix_s, timezone.utc):%Y-%m-%d %H:%M} UTC"
