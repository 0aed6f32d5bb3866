"""Define ``harness devices``: the devices on which a run can be made now."""

from __future__ import annotations

from rich.text import Text

from harness.cli.app import app
from harness.cli.documents.machine import DeviceRow, DevicesDocument
from harness.cli.options import Json
from harness.cli.output import cell, note, print_json, print_table
from harness.core.errors import HarnessError

TITLES = ("--device", "state", "model", "system", "in use by", "unusable because")


@app.command(epilog="Examples:\n\n  harness devices\n\n  harness devices --json")
def devices(as_json: Json = False) -> None:
    """List the attached devices: state, model, system, who measures on them, why one is unusable."""
    from harness.devices.kinds import device_kinds

    rows: list[DeviceRow] = []
    trouble: list[HarnessError] = []
    attached = False
    # Devices that are always there come before plugged-in ones; emulators come last.
    for kind in sorted(device_kinds().values(), key=lambda kind: kind.attaches):
        try:
            found = kind.list_attached()
        except HarnessError as error:
            trouble.append(error)
            continue
        attached |= kind.attaches and bool(found)
        rows += [
            DeviceRow(
                kind=kind.name,
                usable=one.usable,
                **{**vars(one), "reason": one.reason or None, "cure": one.cure or None},
            )
            for one in found
        ]
    rows.sort(key=lambda row: row.emulated)
    document = DevicesDocument(devices=rows)
    if as_json:
        print_json(document)
    else:
        print_table(TITLES, map(_row, document.devices), width=200)
        if not attached:
            note("no phone is attached: an Android one needs USB debugging on, an iPhone has to trust this computer")
    if trouble:
        raise trouble[0]


def _row(row: DeviceRow) -> list[Text]:
    style = "" if row.serial is None else "green" if row.usable else "bold red"
    why = f"{row.reason}\n→ {row.cure}" if row.reason else ""
    return [
        cell(row.device),
        cell(row.state, style),
        cell(row.model or "–"),
        cell(row.system or ("–" if row.serial else "")),
        cell(row.held_by or ""),
        cell(why),
    ]
