"""``harness devices``: what a run can be made on now; ``harness devices pair`` adds a phone over Wi-Fi."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from harness.cli.app import app
from harness.cli.documents.machine import DeviceRow, DevicesDocument, PairedDocument
from harness.cli.offered import given
from harness.cli.opening import LookingGroup
from harness.cli.options import Json
from harness.cli.output import cell, note, print_json, print_table
from harness.core.errors import HarnessError

TITLES = ("--device", "state", "model", "system", "in use by", "unusable because")


devices_app = typer.Typer(
    cls=LookingGroup,
    invoke_without_command=True,
    epilog="Examples:\n\n  harness devices\n\n  harness devices --json\n\n  "
    "harness devices --adb-server localhost:5037 --adb-server lab:5037\n\n  harness devices pair 192.168.1.20:37451",
)
app.add_typer(devices_app, name="devices")


@devices_app.callback()
def devices(context: typer.Context, as_json: Json = False) -> None:
    """List the attached devices: state, model, system, who measures on them, why one is unusable."""
    if context.invoked_subcommand is not None:
        return
    from harness.devices.kinds import device_kinds

    rows: list[DeviceRow] = []
    trouble: list[HarnessError] = []
    attached = False
    # Devices that are always there come before plugged-in ones; emulators come last.
    kinds = [kind for kind in device_kinds().values() if kind.listed_alone and kind.listed_alone.of(given(context))]
    for kind in kinds or sorted(device_kinds().values(), key=lambda kind: kind.attaches):
        try:
            found = kind.list_attached(kind.chosen(given(context)))
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
        if not attached and not kinds:
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


@devices_app.command(
    "pair",
    epilog="Examples:\n\n  harness devices pair\n\n  harness devices pair 192.168.1.20:37451\n\n"
    "  harness devices pair 192.168.1.20:37451 --code 482913",
)
def pair_phone(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Argument(help="HOST:PORT as the phone shows it; without it, the one phone that announces itself"),
    ] = None,
    code: Annotated[str | None, typer.Option(help="the six digits on the phone; asked for if not given")] = None,
    as_json: Json = False,
) -> None:
    """Pair an Android phone over Wi-Fi and connect it (Android 11 or newer).

    On the phone: Developer options, Wireless debugging, Pair device with pairing code.
    """
    from harness.devices.android.address import ADB_SERVER, server_addresses
    from harness.devices.android.pairing import connect_paired, pair, to_pair
    from harness.devices.android.server import Server

    server = Server(address=server_addresses(ADB_SERVER.of(given(context)))[0])
    server.ensure()
    place = address or to_pair(server)
    digits = code or _asked_code(place)
    pair(server, place, digits)
    serial = connect_paired(server, place)
    if as_json:
        print_json(PairedDocument(address=place, device=serial and f"android:{serial}"))
        return
    if serial is None:
        note(f"{place} is paired and announces no place to connect\n  → adb connect HOST:PORT, as the phone shows it")
        return
    note(f"paired and connected: --device android:{serial}")


def _asked_code(place: str) -> str:
    """Ask for the code on a terminal, else read it from standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"code of {place}", err=True)).strip()
    return sys.stdin.readline(64).strip()
