"""``harness devices``: what a run can be made on now."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.app import app
from harness.errors import HarnessError
from harness.shown import shown, shown_line

if TYPE_CHECKING:
    from harness.devices.android import Attached
    from harness.devices.ios import AttachedPhone


@dataclass(frozen=True)
class _Row:
    """A phone as the table shows it; ``known`` is what ``--json`` tells of it."""

    device: str
    state: str
    model: str | None
    system: str
    held_by: str | None
    usable: bool
    why: str
    known: dict[str, Any]


@app.command(epilog="Examples:\n\n  harness devices\n\n  harness devices --json")
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON list instead of a table")] = False,
) -> None:
    """List the attached devices: state, model, system, who measures on them, why one is unusable."""
    rows: list[_Row] = []
    trouble: list[HarnessError] = []
    for look in (_androids, _iphones):
        found, error = _looked(look)
        rows += found
        trouble += [error] if error else []
    if as_json:
        print(json.dumps([row.known for row in rows]))
    else:
        _show(rows)
    if trouble:
        raise trouble[0]


def _show(rows: Sequence[_Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("--device", "state", "model", "system", "in use by", "unusable because"):
        table.add_column(title)
    table.add_row("host", "ready", "this machine", "", "", "")
    for row in rows:
        style = "green" if row.usable else "bold red"
        cells = (row.model or "–", row.system, row.held_by or "", row.why)
        table.add_row(
            Text(shown_line(row.device)),
            Text(shown_line(row.state), style=style),
            *(Text(shown(cell)) for cell in cells),
        )
    table.add_row("virtual-android", "emulated", "real adbd, arm64 code under qemu", "", "", "")
    table.add_row("virtual-ios", "emulated", "an iPhone's protocols, this machine's code", "", "", "")
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
    if not rows:
        print("No phone is attached: an Android one needs USB debugging on, an iPhone has to trust this computer.")


def _looked(look: Callable[[], list[_Row]]) -> tuple[list[_Row], HarnessError | None]:
    try:
        return look(), None
    except HarnessError as error:
        return [], error


def _androids() -> list[_Row]:
    from harness.devices.android import attached_devices

    def row(device: Attached) -> _Row:
        parts = [f"Android {device.android_version} (API {device.sdk})"] if device.android_version else []
        parts += [f"{_WAYS.get(device.connection, device.connection)}{_speed(device)}"] if device.connection else []
        system = ", ".join(parts) or "–"
        known = {"kind": "android", **asdict(device), "usable": device.usable}
        return _row(f"android:{device.serial}", device, system, known)

    return [row(device) for device in attached_devices()]


_WAYS = {"usb": "USB", "network": "network"}


def _speed(device: Attached) -> str:
    """Of its cable, with what both ends could do where that is more."""
    if device.speed is None:
        return ""
    more = device.most_speed is not None and device.most_speed > device.speed
    return f" {device.speed} Mb/s" + (f" of {device.most_speed}" if more else "")


def _iphones() -> list[_Row]:
    """None without the package or without usbmuxd, as on a machine that never saw an iPhone."""
    from harness.devices.ios import attached_iphones, has_support
    from harness.devices.ios.errors import UsbmuxUnavailable

    def row(device: AttachedPhone) -> _Row:
        system = f"iOS {device.ios_version} ({device.connection})" if device.ios_version else "–"
        return _row(f"ios:{device.serial}", device, system, {"kind": "ios", **asdict(device), "usable": device.usable})

    if not has_support():
        return []
    try:
        return [row(device) for device in attached_iphones()]
    except UsbmuxUnavailable:
        return []


def _row(name: str, device: Attached | AttachedPhone, system: str, known: dict[str, Any]) -> _Row:
    why = f"{device.reason}\n→ {device.cure}" if device.reason else ""
    return _Row(name, device.state, device.model, system, device.held_by, device.usable, why, known)
