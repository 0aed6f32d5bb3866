"""``harness devices``: what a run can be made on now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.text import Text

from harness.cli.app import app
from harness.cli.options import Json
from harness.cli.output import cell, note, print_json, print_table
from harness.documents.machine import DeviceRow, DevicesDocument
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.devices.android import Attached

TITLES = ("--device", "state", "model", "system", "in use by", "unusable because")
HOST = DeviceRow(device="host", kind="host", state="ready", model="this machine", usable=True)
VIRTUAL = [
    DeviceRow(
        device="virtual-android",
        kind="virtual-android",
        state="emulated",
        model="real adbd, arm64 code under qemu",
        usable=True,
        emulated=True,
    ),
    DeviceRow(
        device="virtual-ios",
        kind="virtual-ios",
        state="emulated",
        model="an iPhone's protocols, this machine's code",
        usable=True,
        emulated=True,
    ),
]


@app.command(epilog="Examples:\n\n  harness devices\n\n  harness devices --json")
def devices(as_json: Json = False) -> None:
    """List the attached devices: state, model, system, who measures on them, why one is unusable."""
    phones: list[DeviceRow] = []
    trouble: list[HarnessError] = []
    for look in (_androids, _iphones):
        found, error = _looked(look)
        phones += found
        trouble += [error] if error else []
    document = DevicesDocument(devices=[HOST, *phones, *VIRTUAL])
    if as_json:
        print_json(document)
    else:
        print_table(TITLES, map(_row, document.devices), width=200)
        if not phones:
            note("no phone is attached: an Android one needs USB debugging on, an iPhone has to trust this computer")
    if trouble:
        raise trouble[0]


def _row(row: DeviceRow) -> list[Text]:
    style = "" if row.kind == "host" or row.emulated else "green" if row.usable else "bold red"
    why = f"{row.reason}\n→ {row.cure}" if row.reason else ""
    return [
        cell(row.device),
        cell(row.state, style),
        cell(row.model or "–"),
        cell(row.system or ("–" if row.serial else "")),
        cell(row.held_by or ""),
        cell(why),
    ]


def _looked(look: Callable[[], list[DeviceRow]]) -> tuple[list[DeviceRow], HarnessError | None]:
    try:
        return look(), None
    except HarnessError as error:
        return [], error


def _androids() -> list[DeviceRow]:
    from harness.devices.android import attached_devices

    return [
        DeviceRow(
            device=f"android:{found.serial}",
            kind="android",
            serial=found.serial,
            state=found.state,
            model=found.model,
            system=_android_system(found),
            held_by=found.held_by,
            usable=found.usable,
            reason=found.reason or None,
            cure=found.cure or None,
        )
        for found in attached_devices()
    ]


def _android_system(found: Attached) -> str | None:
    """Return the release and the way to the phone, as in ``Android 15 (API 35), USB 480 Mb/s of 5000``."""
    parts = [f"Android {found.android_version} (API {found.sdk})"] if found.android_version else []
    if found.connection:
        way = {"usb": "USB"}.get(found.connection, found.connection)
        speed = f" {found.speed} Mb/s" if found.speed is not None else ""
        if found.speed is not None and found.most_speed is not None and found.most_speed > found.speed:
            speed += f" of {found.most_speed}"
        parts.append(way + speed)
    return ", ".join(parts) or None


def _iphones() -> list[DeviceRow]:
    """None without the package or without usbmuxd, as on a machine that never saw an iPhone."""
    from harness.devices.ios import attached_iphones, has_support
    from harness.devices.ios.errors import UsbmuxUnavailable

    if not has_support():
        return []
    try:
        phones = attached_iphones()
    except UsbmuxUnavailable:
        return []
    return [
        DeviceRow(
            device=f"ios:{found.serial}",
            kind="ios",
            serial=found.serial,
            state=found.state,
            model=found.model,
            system=f"iOS {found.ios_version} ({found.connection})" if found.ios_version else None,
            held_by=found.held_by,
            usable=found.usable,
            reason=found.reason or None,
            cure=found.cure or None,
        )
        for found in phones
    ]
