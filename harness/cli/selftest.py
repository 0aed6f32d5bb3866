"""Define ``harness selftest``: a run's items inside a user's own app, compared and stored like any run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import completion
from harness.cli.app import app
from harness.cli.documents.base import Document
from harness.cli.documents.files import FilesDocument, file_rows
from harness.cli.opening import OpeningCommand, selected
from harness.cli.options import DEFAULT_RESULTS, Json, ResultsDir, RunName
from harness.cli.output import note, print_json, print_line
from harness.core.cache import Cache
from harness.core.errors import ExitCode, UsageError
from harness.results import RunVerdict, Store
from harness.results.files import write_text_atomically

if TYPE_CHECKING:
    from harness.devices import OpensApps

ORDERS, RECORDS = Path("orders.jsonl"), Path("records.jsonl")
App = Annotated[str, typer.Option("--app", metavar="ID", help="the app's identifier, such as com.example.app")]
DeviceName = Annotated[
    str, typer.Option("--device", help="the phone: android, ios:UDID and so on", autocompletion=completion.devices)
]
ENDS = {
    RunVerdict.PASS: ExitCode.OK,
    RunVerdict.FAIL: ExitCode.FAILURE,
    RunVerdict.INCONCLUSIVE: ExitCode.INFRASTRUCTURE,
}

selftest_app = typer.Typer(
    help="A run's items inside your own app, which calls selfTest (docs/apps.md).",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness selftest orders latest\n\n"
    "  harness selftest send --device android --app com.example.app\n\n"
    "  harness selftest fetch --device android --app com.example.app\n\n"
    "  harness selftest read records.jsonl --run latest --device-name 'Pixel 8'",
)
app.add_typer(selftest_app, name="selftest")


@selftest_app.callback()
def selftest() -> None:
    """A run's items inside your own app, which calls selfTest (docs/apps.md)."""


@selftest_app.command(
    epilog="Examples:\n\n  harness selftest orders latest\n\n  harness selftest orders latest --output app/orders.jsonl"
)
def orders(
    run: RunName = "latest",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="the file, whose text the app gives to selfTest")
    ] = ORDERS,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Write what the app is to run: the items that a run compared and timed, in its timed variant."""
    # Imported here because it takes a second to load.
    from harness.run.self_test import app_orders

    found = app_orders(Store(results_dir).find(run))
    write_text_atomically(output, "".join(one.order.model_dump_json() + "\n" for one in found))
    if as_json:
        print_json(FilesDocument(files=file_rows([output])))
    else:
        items = sum(len(one.order.items) for one in found)
        print_line(f"{output}: {len(found)} orders with {items} items, for archive {found[0].order.archive_sha256}")


@selftest_app.command(
    cls=OpeningCommand,
    epilog="Examples:\n\n  harness selftest send --device android --app com.example.app\n\n"
    "  harness selftest send app/orders.jsonl --device ios --app com.example.app",
)
def send(
    context: typer.Context,
    device: DeviceName,
    app: App,
    orders: Annotated[Path, typer.Argument(metavar="FILE", help="what `harness selftest orders` wrote")] = ORDERS,
    as_json: Json = False,
) -> None:
    """Copy the orders into the app's folder: `files` on Android, `Documents` on an iPhone.

    The app has to be a build that may be debugged, or on an iPhone one that shares its files.
    """
    if not orders.is_file():
        raise UsageError(f"{orders} is no file", cure=f"harness selftest orders latest --output {orders}")
    with _reached(context, device) as reached:
        reached.send_to_app(app, orders, orders.name)
    if as_json:
        print_json(FilesDocument(files=file_rows([orders])))
    else:
        print_line(f"{orders}: copied into {app} as {orders.name}")


@selftest_app.command(
    cls=OpeningCommand,
    epilog="Examples:\n\n  harness selftest fetch --device android --app com.example.app\n\n"
    "  harness selftest fetch records.jsonl --device ios --app com.example.app --output build/records.jsonl",
)
def fetch(
    context: typer.Context,
    device: DeviceName,
    app: App,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the file that the app gave to selfTest")] = RECORDS.name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="where to write it; without it, its name")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy what the app's selfTest wrote out of the app's folder, for `harness selftest read`."""
    target = output or Path(name)
    if not target.parent.is_dir():
        raise UsageError(f"the folder {target.parent} does not exist", cure="make it, or name another --output")
    with _reached(context, device) as reached:
        size = reached.fetch_from_app(app, name, target)
    if as_json:
        print_json(FilesDocument(files=file_rows([target])))
    else:
        print_line(f"{target}: {size} bytes from {app}")


@contextmanager
def _reached(context: typer.Context, device: str) -> Iterator[OpensApps]:
    """Open the one device that is selected; raises UsageError for several, or for a kind without apps."""
    from harness.devices import OpensApps, Unavailable
    from harness.devices.selection import opened

    with opened(selected(context, device), cache=Cache(notice=note), notify=note) as devices:
        found = [one for one in devices if not isinstance(one, Unavailable)]
        if len(devices) != 1:
            raise UsageError(f"--device {device} selects {len(devices)} devices", cure="name one")
        if not isinstance(found[0], OpensApps):
            raise UsageError(f"--device {device}: there are no apps", cure="name a phone, such as android or ios:UDID")
        yield found[0]


@selftest_app.command(
    epilog="Examples:\n\n  harness selftest read records.jsonl --run latest\n\n"
    "  harness selftest read records.jsonl --run 20260501-1200 --device-name 'Pixel 8'"
    "\n\nExit status: 0 all equal, 1 a mismatch, 3 what the app wrote is incomplete.",
)
def read(
    records: Annotated[Path, typer.Argument(metavar="FILE", help="what the app's selfTest wrote")],
    run: Annotated[str, typer.Option("--run", help="the run whose orders the app was given")] = "latest",
    device_name: Annotated[
        str | None, typer.Option("--device-name", metavar="NAME", help="on what the app ran, for the reports")
    ] = None,
    emulated: Annotated[
        bool, typer.Option("--emulated", help="it was an emulator or a simulator, whose times mean nothing")
    ] = False,
    results_dir: ResultsDir = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Compare what the app answered with PyTorch, and store it as a run of its own."""
    from harness.cli.documents.run import run_document
    from harness.report import verdict_text
    from harness.report.progress import TerminalProgress
    from harness.run.builder import CachedBuilder
    from harness.run.self_test import app_orders, keep_self_test, read_results

    store = Store(results_dir)
    tested = store.find(run)
    stored, summary = keep_self_test(
        tested,
        read_results(records, app_orders(tested)),
        device=device_name,
        emulated=emulated,
        store=store,
        builder=CachedBuilder(notice=note),
        reporter=TerminalProgress(sys.stderr),
        command=["harness", "selftest", "read", str(records), "--run", tested.run_id],
    )
    manifest = stored.manifest()
    if as_json:
        document: Document = run_document(manifest, summary)
        print_json(document)
    else:
        print_line(verdict_text(manifest, summary))
        for reason in summary.reasons:
            print_line(reason)
        print_line(f"kept as run {stored.run_id}: harness show {stored.run_id}")
    if (code := ENDS[summary.verdict]) is not ExitCode.OK:
        raise typer.Exit(int(code))
