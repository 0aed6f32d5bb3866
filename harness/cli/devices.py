"""``harness devices``: what a run can be made on now."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli.app import app
from harness.errors import HarnessError


@app.command(epilog="Examples:\n\n  harness devices\n\n  harness devices --json")
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON list instead of a table")] = False,
) -> None:
    """List the attached devices: state, model, Android version, who measures on them, why one is unusable."""
    from harness.devices.android import attached_devices

    try:
        found, trouble = attached_devices(), None
    except HarnessError as error:
        found, trouble = [], error
    if as_json:
        print(json.dumps([{"kind": "android", **asdict(device), "usable": device.usable} for device in found]))
        if trouble:
            raise trouble
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("--device", "state", "model", "Android", "in use by", "unusable because"):
        table.add_column(title)
    table.add_row("host", "ready", "this machine", "", "", "")
    for device in found:
        style = "green" if device.usable else "bold red"
        system = f"{device.android_version} (API {device.sdk})" if device.android_version else "–"
        why = f"{device.reason}\n→ {device.cure}" if device.reason else ""
        table.add_row(
            Text(f"android:{device.serial}"),
            Text(device.state, style=style),
            Text(device.model or "–"),
            Text(system),
            Text(device.held_by or ""),
            Text(why),
        )
    table.add_row("virtual-android", "emulated", "real adbd, arm64 code under qemu", "", "", "")
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)
    if trouble:
        raise trouble
    if not found:
        print("No Android device is attached: connect one with USB debugging on, or `adb connect HOST:PORT`.")
