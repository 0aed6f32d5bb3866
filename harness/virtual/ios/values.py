"""Answer for lockdownd's values, by domain; unpaired hosts see few of them."""

from __future__ import annotations

import time
from typing import Any

from harness.virtual.ios.phone import Phone

PUBLIC = frozenset(
    {
        "BuildVersion", "DeviceClass", "DeviceColor", "DeviceName", "DevicePublicKey", "HardwareModel",
        "HumanReadableProductVersionString", "ProductName", "ProductType", "ProductVersion", "UniqueChipID",
        "UniqueDeviceID", "WiFiAddress",
    }
)  # fmt: skip
_WRITABLE = frozenset({(None, "DeviceName"), (None, "TimeZone")})


def read(phone: Phone, request: dict[str, Any], *, trusted: bool) -> dict[str, Any]:
    """Return lockdownd's answer to ``GetValue``."""
    domain, key = _name(request, "Domain"), _name(request, "Key")
    answer: dict[str, Any] = {name: value for name, value in (("Domain", domain), ("Key", key)) if value}
    known = _all(phone).get(domain)
    if not trusted:
        known = {name: value for name, value in (known or {}).items() if name in PUBLIC} if domain is None else None
        if known is None or (key is not None and key not in known):
            return {**answer, "Error": "GetProhibited" if domain or key in _all(phone)[None] else "MissingValue"}
    if known is None or (key is not None and key not in known):
        return {**answer, "Error": "MissingValue"}
    return {**answer, "Value": known if key is None else known[key]}


def write(phone: Phone, request: dict[str, Any]) -> dict[str, Any]:
    """Return lockdownd's answer to ``SetValue`` and ``RemoveValue``: little can be written, and nothing lasts."""
    domain, key = _name(request, "Domain"), _name(request, "Key")
    if (domain, key) not in _WRITABLE:
        return {"Error": "SetProhibited"}
    phone.event(f"set {key}")
    return {}


def _name(request: dict[str, Any], field: str) -> str | None:
    value = request.get(field)
    return value if isinstance(value, str) and value else None


def battery(phone: Phone) -> dict[str, Any]:
    """Return the domain ``com.apple.mobile.battery``; the level is in percent."""
    state = phone.state
    return {
        "BatteryCurrentCapacity": state.battery_level,
        "BatteryIsCharging": state.battery_charging,
        "ExternalChargeCapable": state.battery_external,
        "ExternalConnected": state.battery_external,
        "FullyCharged": state.battery_level >= 100,
        "GasGaugeCapability": True,
        "HasBattery": True,
    }


def _all(phone: Phone) -> dict[str | None, dict[str, Any]]:
    identity, state = phone.identity, phone.state
    capacity = state.space_bytes if state.space_bytes is not None else phone.free_bytes()
    return {
        None: {
            "ActivationState": "Activated",
            "BasebandStatus": "BBInfoAvailable",
            "BoardId": identity.board_id,
            "BuildVersion": identity.build,
            "CPUArchitecture": "arm64e",
            "ChipID": identity.chip_id,
            "DeviceClass": "iPhone",
            "DeviceColor": "1",
            "DeviceName": identity.name,
            "DevicePublicKey": phone.pairings.public_key,
            "HardwareModel": identity.hardware_model,
            "HardwarePlatform": f"t{identity.chip_id:x}",
            "HasSiDP": True,
            "HostAttached": True,
            "HumanReadableProductVersionString": identity.os_version,
            "PasswordProtected": state.locked or state.before_first_unlock,
            "ProductName": "iPhone OS",
            "ProductType": identity.product_type,
            "ProductVersion": identity.os_version,
            "ProductionSOC": True,
            "SerialNumber": identity.serial_number,
            "SupportedDeviceFamilies": [1],
            "TimeIntervalSince1970": time.time(),
            "TimeZone": "Etc/UTC",
            "TimeZoneOffsetFromUTC": 0.0,
            "TrustedHostAttached": True,
            "UniqueChipID": identity.ecid,
            "UniqueDeviceID": identity.udid,
            "WiFiAddress": identity.wifi_address,
        },
        "com.apple.mobile.battery": battery(phone),
        "com.apple.disk_usage": {
            "AmountDataAvailable": phone.free_bytes(),
            "AmountDataReserved": 0,
            "TotalDataAvailable": phone.free_bytes(),
            "TotalDataCapacity": capacity,
            "TotalDiskCapacity": capacity,
            "TotalSystemCapacity": 0,
        },
        "com.apple.security.mac.amfi": {"DeveloperModeStatus": state.developer_mode},
        "com.apple.international": {"Language": "en", "Locale": "en_US"},
        "com.apple.mobile.wireless_lockdown": {"EnableWifiConnections": False},
        "com.apple.mobile.internal": {"IsInternal": False},
    }
