"""The application, and how its errors reach a person: one message with its cure, and the error's exit code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from harness.errors import ExitCode, HarnessError
from harness.shown import shown

INTERRUPTED = 130
"""128 + SIGINT, as shells expect."""

app = typer.Typer(
    name="harness",
    help="Compile a model with TVM, run it on a device, and compare it with PyTorch.",
    epilog="The main job: pytest suites --device host",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMAND_MODULES = [
    "harness.cli.baseline",
    "harness.cli.compile",
    "harness.cli.devices",
    "harness.cli.explain",
    "harness.cli.history",
    "harness.cli.maintenance",
    "harness.cli.nightly",
    "harness.cli.nights",
    "harness.cli.package",
    "harness.cli.profile",
    "harness.cli.report",
    "harness.cli.runs",
    "harness.cli.toolchain",
]
"""Each adds its commands to ``app`` when it is imported. None may import torch or tvm at import."""


ALONE = {
    "compare": "harness.cli.runs",
    "export": "harness.cli.history",
    "query": "harness.cli.history",
    "report": "harness.cli.report",
    "runs": "harness.cli.runs",
    "show": "harness.cli.runs",
}
"""Commands that need no other's module, of which they would wait longer than they work. Each module named here has
several commands or imports one that has: an app with a single command would take its name for an argument."""


def load_commands(arguments: Sequence[str] = ()) -> None:
    """The module of the command that is called, or all of them, for help and for whatever is misspelt."""
    alone = ALONE.get(arguments[0]) if arguments else None
    for name in [alone] if alone else COMMAND_MODULES:
        importlib.import_module(name)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The entry point; never shows a traceback for a HarnessError or Ctrl-C."""
    try:
        load_commands(sys.argv[1:] if arguments is None else arguments)
        # Ends the process by SystemExit: 0, 2 for a wrong command line, 130 for Ctrl-C inside a command.
        app(args=arguments, prog_name="harness")
    except HarnessError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    sys.exit(ExitCode.OK)


def fail(message: str, code: int) -> NoReturn:
    """Print to stderr and exit."""
    print(f"harness: {shown(message)}", file=sys.stderr)
    sys.exit(code)
