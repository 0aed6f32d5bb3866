"""Hold a virtual iPhone's identity and its current state."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from typing import Any, Literal

IosVersion = Literal["16", "17", "26"]
Pairing = Literal["trusts", "asks", "refuses"]
Image = Literal["mounted", "missing", "unmountable"]


@dataclass(frozen=True)
class Identity:
    """Hold what never changes: the phone's identity and its system."""

    ios_version: IosVersion
    udid: str
    ecid: int
    name: str
    product_type: str
    hardware_model: str
    chip_id: int
    board_id: int
    os_version: str
    build: str
    serial_number: str
    wifi_address: str

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.os_version.split("."))

    @property
    def tunnelled(self) -> bool:
        """Return whether its services for developers need a tunnel."""
        return self.version >= (17,)


@dataclass
class State:
    """Hold the state that a test may change; times in seconds, temperature in hundredths of a degree Celsius."""

    locked: bool = False
    """The screen is locked: apps are not launched, images not mounted, hosts not paired."""
    before_first_unlock: bool = False
    """Nobody has entered the passcode since it booted: lockdownd starts no service."""
    pairing: Pairing = "trusts"
    """The owner's reaction to a new host; ``asks`` leaves the dialog open until this changes."""
    developer_mode: bool = True
    trusts_developer: bool = True
    """True if its owner trusted the apps' developer in the settings."""
    image: Image = "mounted"
    """The developer disk image; ``missing`` can be mounted, ``unmountable`` is refused."""
    image_signed: bool = True
    """True if the phone keeps Apple's signature of a personalised image from an earlier mount, so that none is asked
    for."""
    space_bytes: int | None = None
    """The bytes that fit on it; None for as much as this machine has."""
    battery_level: int = 80
    battery_temperature: int = 2950
    battery_charging: bool = True
    battery_external: bool = True
    launch_watchdog_seconds: float | None = None
    """The seconds after which apps without a debugger are ended if they have not come up; None for never."""
    core_device_proxy: bool = True
    """True if a phone with a tunnel offers the one that needs no rights, as it does from iOS 17.4 on."""
    reports_ends: bool = True
    """True if DVT's process control reports the end of apps."""

    def change(self, values: dict[str, Any]) -> None:
        """Set fields by name. Raises ValueError for an unknown name or value."""
        known = {field.name for field in dataclasses.fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"a virtual iPhone has no state {name!r}; it has {', '.join(sorted(known))}")
            choices = {"pairing": ("trusts", "asks", "refuses"), "image": ("mounted", "missing", "unmountable")}
            if name in choices and value not in choices[name]:
                raise ValueError(f"{name} is one of {', '.join(choices[name])}, not {value!r}")
            setattr(self, name, value)


_IOS_VERSIONS: dict[str, dict[str, Any]] = {
    "16": {
        "product_type": "iPhone14,5",
        "hardware_model": "D17AP",
        "chip_id": 0x8110,
        "board_id": 0x18,
        "os_version": "16.7.2",
        "build": "20H115",
    },
    "17": {
        "product_type": "iPhone15,4",
        "hardware_model": "D37AP",
        "chip_id": 0x8120,
        "board_id": 0x08,
        "os_version": "17.5.1",
        "build": "21F90",
    },
    "26": {
        "product_type": "iPhone17,3",
        "hardware_model": "D47AP",
        "chip_id": 0x8140,
        "board_id": 0x08,
        "os_version": "26.4",
        "build": "23E246",
    },
}


def make_identity(ios_version: str, **chosen: Any) -> Identity:
    """Return an identity with that iOS and a UDID of its own; fields that are not None replace the version's.

    Raises ValueError for an iOS that there is not.
    """
    if ios_version not in _IOS_VERSIONS:
        raise ValueError(f"a virtual iPhone has iOS 16, 17 or 26, not {ios_version!r}")
    ecid = secrets.randbits(52)
    fields = {
        **_IOS_VERSIONS[ios_version],
        "ios_version": ios_version,
        "ecid": ecid,
        "udid": f"{_IOS_VERSIONS[ios_version]['chip_id']:08X}-{ecid:016X}",
        "name": "Virtual iPhone",
        "serial_number": "V" + secrets.token_hex(5).upper()[:9],
        "wifi_address": "02:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(4)),
        **{name: value for name, value in chosen.items() if value is not None},
    }
    return Identity(**fields)
