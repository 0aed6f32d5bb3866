"""Read an iPhone's facts, and what changes from run to run, from its services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from packaging.version import Version
from pymobiledevice3.services.diagnostics import DiagnosticsService

from harness.devices.ios.explained import TROUBLE, is_loss
from harness.devices.ios.link import Link


@dataclass(frozen=True)
class IosFacts:
    """Hold an iPhone's facts.

    ``model`` is its maker's name for it. ``owners_name`` is its owner's and private. ``facts`` are those of
    :meth:`Device.facts` besides kind and name.
    """

    model: str
    owners_name: str
    system: Version
    facts: dict[str, Any]


async def read_facts(link: Link) -> IosFacts:
    """Return the lasting facts; a fact that the phone does not report is None."""
    lockdown = await link.lockdown()
    values = lockdown.all_values
    device = lockdown.service.mux_device
    # The library has a table of models; newer phones are not in it.
    model = lockdown.display_name or values.get("ProductType")
    capacity = await _value(link, "com.apple.disk_usage", "TotalDiskCapacity")
    facts = {
        "cpu_model": values.get("HardwarePlatform"),
        "cores": None,
        "arch": values.get("CPUArchitecture"),
        "governor": None,
        "memory_bytes": None,
        "os": f"iOS {lockdown.product_version}",
        "kernel": values.get("BuildVersion"),
        "model": model,
        "manufacturer": "Apple",
        "product_type": values.get("ProductType"),
        "hardware_model": values.get("HardwareModel"),
        "ios_version": lockdown.product_version,
        "ios_build": values.get("BuildVersion"),
        "connection": device.connection_type if device is not None else None,
        "disk_bytes": capacity,
    }
    return IosFacts(str(model or "iPhone"), str(values.get("DeviceName", "")), Version(lockdown.product_version), facts)


async def read_conditions(link: Link) -> dict[str, Any]:
    """Return battery level and health in percent, temperature in °C, power, free storage; None if not reported."""
    async with DiagnosticsService(await link.lockdown()) as diagnostics:
        battery = await diagnostics.get_battery() or {}
    free = await _value(link, "com.apple.disk_usage", "AmountDataAvailable")
    hundredths = battery.get("Temperature")
    level = battery.get("CurrentCapacity")
    if level is None:
        level = await _value(link, "com.apple.mobile.battery", "BatteryCurrentCapacity")
    return {
        "battery_percent": level,
        "battery_celsius": hundredths / 100 if isinstance(hundredths, int) else None,
        "battery_health_percent": _health(battery),
        "battery_cycles": cycles if isinstance(cycles := battery.get("CycleCount"), int) else None,
        "charging": battery.get("IsCharging"),
        "powered_by": "USB" if battery.get("ExternalConnected") else None,
        "storage_free_bytes": free,
    }


def _health(battery: dict[str, Any]) -> int | None:
    """Return what the battery holds of what it held when it was new; newer systems keep that to themselves."""
    new = battery.get("DesignCapacity")
    now = battery.get("NominalChargeCapacity") or battery.get("AppleRawMaxCapacity")
    known = isinstance(new, int) and isinstance(now, int) and new > 0 and 0 < now <= 2 * new
    return round(100 * now / new) if known else None  # type: ignore[operator]


async def _value(link: Link, domain: str, key: str) -> Any:
    """Return a value that not every iOS has, or None."""
    try:
        return await (await link.lockdown()).get_value(domain, key)
    except TROUBLE as error:
        if is_loss(error):
            raise
        return None
