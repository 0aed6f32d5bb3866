"""Define ``harness doctor``: check that everything is there that the harness needs."""

from __future__ import annotations

import platform

import typer
from rich.text import Text

from harness.cli.app import app
from harness.cli.checks import check_installation
from harness.cli.documents.machine import CheckRow, DoctorDocument
from harness.cli.offered import given
from harness.cli.opening import LookingCommand
from harness.cli.options import Json
from harness.cli.output import cell, print_json, print_table
from harness.core.cache import Cache
from harness.core.errors import ExitCode


@app.command(cls=LookingCommand, epilog="Examples:\n\n  harness doctor\n\n  harness doctor --json")
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check compilers, packages and the cache; name the one command that mends each fault.

    Exit status 0 when all is there, 3 when something is missing.
    """
    checks = [
        CheckRow(name=check.name, ok=check.ok, found=check.found, cure=None if check.ok else check.cure)
        for check in check_installation(Cache(), given(context))
    ]
    document = DoctorDocument(ok=all(check.ok for check in checks), platform=platform.platform(), checks=checks)
    if as_json:
        print_json(document)
    else:
        print_table(("", "what", "found", "mend it with"), map(_row, checks))
    if not document.ok:
        raise typer.Exit(int(ExitCode.INFRASTRUCTURE))


def _row(check: CheckRow) -> list[Text]:
    mark = cell("ok", "green") if check.ok else cell("missing", "bold red")
    return [mark, cell(check.name), cell(check.found), cell(check.cure or "")]
