"""Define ``explain``, the command that finds what diverges from PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import completion
from harness.cli.app import app
from harness.cli.opening import OpeningCommand, selected, typed
from harness.cli.options import DEFAULT_RESULTS, RUN_HELP, AnyResultsDir, Json, Markdown, existing
from harness.cli.output import exclusive, note, print_json, terminal, write_markdown
from harness.core.cache import Cache
from harness.core.errors import ExitCode, UsageError
from harness.results import Run, Store

if TYPE_CHECKING:
    from harness.devices import Device


OUTPUTS = ("html", "bundle", "everything", "markdown", "as_json")
"""The parameters that choose what is shown and written, and not what is explained."""


class SeveralDevices(UsageError):
    """More than one device was named, and none of them is the run's."""

    cure = "name one, such as --device host or --device android:SERIAL"


@app.command(
    cls=OpeningCommand,
    epilog="Examples:\n\n  harness explain\n\n  harness explain latest --item w00003 --html explained.html\n\n"
    "  harness explain latest --device virtual-android\n\n  harness explain latest --bundle failure.zip\n\n"
    "  harness explain failure.zip\n\nExit status: 0 nothing diverges, 1 a divergence was found and named.",
)
def explain(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|BUNDLE", help=f"{RUN_HELP}; or a bundle's file", autocompletion=completion.runs),
    ] = "latest",
    item: Annotated[
        str | None,
        typer.Option("--item", help="a word's id, or MODEL/ITEM; without it the first that failed"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="another device than the run's, such as host", autocompletion=completion.devices),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="also write a page with the picture")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="also write all it takes to reproduce it, as a zip file"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every kernel's call in the table")] = False,
    results_dir: AnyResultsDir = DEFAULT_RESULTS,
    markdown: Markdown = None,
    as_json: Json = False,
) -> None:
    """Name the first module and operation whose output diverges from PyTorch, for a word of a stored run."""
    exclusive({"--markdown": markdown, "--json": as_json})
    with _found(results_dir, run, item) as (stored, which):
        # Imported here because they take a second to load.
        from harness.devices import Unavailable
        from harness.devices.selection import opened
        from harness.explain.run import explain as explain_run
        from harness.explain.run import options_of
        from harness.report import to_markdown, to_terminal
        from harness.report.explanation import explanation_report
        from harness.report.progress import TerminalProgress
        from harness.run.builder import CachedBuilder

        builder = CachedBuilder(notice=note)
        selection = selected(context, device or options_of(stored).device)
        with opened(selection, cache=Cache(notice=note), notify=note) as devices:
            usable = [one for one in devices if not isinstance(one, Unavailable)]
            chosen = _one_of(usable, stored if device is None else None)
            found = explain_run(
                stored,
                item=which,
                builder=builder,
                device=chosen,
                reporter=TerminalProgress(sys.stderr),
                command=lambda name: _command(context, run if run.endswith(".zip") else stored.run_id, name),
            )
        if html is not None:
            from harness.report.html import explanation_page, write_page

            write_page(html, explanation_page(found))
        if bundle is not None:
            from harness.explain.bundle import write_bundle
            from harness.explain.subject import opened as opened_workload

            workload = opened_workload(stored, found.model, options_of(stored), builder, note)
            write_bundle(bundle, stored, found, workload.weight_files())
        if as_json:
            from harness.cli.documents.findings import explanation_document

            print_json(explanation_document(found))
        elif markdown is not None:
            write_markdown(to_markdown(explanation_report(found, everything=everything)), markdown)
        else:
            to_terminal(explanation_report(found, everything=everything), terminal())
    raise typer.Exit(ExitCode.FAILURE if found.departed else ExitCode.OK)


def _command(context: typer.Context, source: str, item: str) -> list[str]:
    """Return the command that explains the item again: with its run, its devices and the folder of the results."""
    given = typed(context, leave_out=("run", "item", *OUTPUTS))
    return ["harness", "explain", source, "--item", item, *given]


def _one_of(devices: Sequence[Device], run: Run | None) -> Device:
    """Return the only device, or among several, as for ``virtual-ios``, the run's. Raises SeveralDevices."""
    named = devices
    if run is not None and len(devices) > 1:
        from harness.devices.android.mode import AS_APP

        name = str(run.manifest().device.get("name"))
        # A virtual phone's serial, in brackets after its name, changes each time.
        alike = [one for one in devices if one.emulated and one.name.partition(" (")[0] == name.partition(" (")[0]]
        # Values are the same in the shell and in an app.
        named = [one for one in devices if one.name.removesuffix(AS_APP) == name.removesuffix(AS_APP)] or alike
    if len(named) != 1:
        raise SeveralDevices(f"{', '.join(one.name for one in devices)}: which of them?")
    return named[0]


@contextmanager
def _found(results_dir: Path, name: str, item: str | None) -> Iterator[tuple[Run, str | None]]:
    """Yield a stored run, or the one in a bundle with its item."""
    if not name.endswith(".zip"):
        yield Store(existing(results_dir)).find(name), item
        return
    from harness.explain.bundle import opened_bundle

    with opened_bundle(Path(name)) as (run, its_item):
        yield run, item or its_item
