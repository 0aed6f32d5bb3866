"""Serve diagnostics_relay: the battery as the IO registry shows it."""

from __future__ import annotations

from typing import Any

from harness.virtual.ios.faults import Refused
from harness.virtual.ios.phone import Phone
from harness.virtual.ios.stream import Connection


async def serve(phone: Phone, connection: Connection) -> None:
    """Answer one connection's requests until it ends."""
    while True:
        request = await connection.read_plist()
        try:
            await phone.faults.at("diagnostics", connection)
            answer = _answer(phone, request)
        except Refused:
            answer = {"Status": "Failure"}
        await connection.send_plist(answer)
        if request.get("Request") == "Goodbye":
            return


def _answer(phone: Phone, request: dict[str, Any]) -> dict[str, Any]:
    match request.get("Request"):
        case "IORegistry":
            known = "IOPMPowerSource" in (request.get("EntryClass"), request.get("EntryName"))
            found = _battery(phone) if known or request.get("EntryName") == "AppleSmartBattery" else {}
            return {"Status": "Success", "Diagnostics": {"IORegistry": found}}
        case "MobileGestalt":
            return _gestalt(phone, list(request.get("MobileGestaltKeys") or ()))
        case "Goodbye":
            return {"Status": "Success"}
        case "GasGauge" | "All":
            gauge = {"CycleCount": 120, "DesignCapacity": 3227, "FullChargeCapacity": 3000, "Status": "Success"}
            return {"Status": "Success", "Diagnostics": {"GasGauge": gauge}}
        case _:
            return {"Status": "UnknownRequest"}


def _battery(phone: Phone) -> dict[str, Any]:
    state = phone.state
    return {
        "AtCriticalLevel": state.battery_level <= 3,
        "CurrentCapacity": state.battery_level,
        "CycleCount": 120,
        "DesignCapacity": 3227,
        "ExternalConnected": state.battery_external,
        "FullyCharged": state.battery_level >= 100,
        "InstantAmperage": 900 if state.battery_charging else -450,
        "IsCharging": state.battery_charging,
        "MaxCapacity": 100,
        "NominalChargeCapacity": 3000,
        "Temperature": state.battery_temperature,
        "Voltage": 4100,
    }


def _gestalt(phone: Phone, keys: list[Any]) -> dict[str, Any]:
    if phone.identity.version >= (17, 4):
        return {"Status": "Success", "Diagnostics": {"MobileGestalt": {"Status": "MobileGestaltDeprecated"}}}
    identity = phone.identity
    known = {
        "BuildVersion": identity.build,
        "ProductType": identity.product_type,
        "ProductVersion": identity.os_version,
        "UniqueDeviceID": identity.udid,
    }
    found = {key: known[key] for key in keys if key in known}
    return {"Status": "Success", "Diagnostics": {"MobileGestalt": {"Status": "Success", **found}}}
