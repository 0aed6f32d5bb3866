"""Define the application, and report its errors to a person: one message with its cure, and the error's exit code."""

from __future__ import annotations

import errno
import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from harness.cli.documents.base import harness_version
from harness.cli.output import traceback_wanted
from harness.cli.streams import quiet_pipes
from harness.core.errors import ExitCode, HarnessError
from harness.core.text import shown

INTERRUPTED = 130
"""128 + SIGINT, as shells expect."""
COMPLETION = "_HARNESS_COMPLETE"
"""A shell sets it when it asks for completions of a command line."""

app = typer.Typer(
    name="harness",
    help="Compile a model with TVM, run it on a device, and compare it with PyTorch.",
    epilog="Examples:\n\n  harness run --device host\n\n  harness show latest\n\n  harness COMMAND --help\n\n"
    "Exit codes: 0 ok, 1 regression or mismatch, 2 wrong usage, 3 inconclusive or infrastructure, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMAND_MODULES = [
    "harness.cli.baseline",
    "harness.cli.cache",
    "harness.cli.compile",
    "harness.cli.devices",
    "harness.cli.doctor",
    "harness.cli.explain",
    "harness.cli.history",
    "harness.cli.init",
    "harness.cli.lab",
    "harness.cli.labcompile",
    "harness.cli.labtoken",
    "harness.cli.nightly",
    "harness.cli.nights",
    "harness.cli.package",
    "harness.cli.profile",
    "harness.cli.report",
    "harness.cli.runs",
    "harness.cli.schema",
    "harness.cli.selftest",
    "harness.cli.suites",
    "harness.cli.sync",
    "harness.cli.toolchain",
    "harness.cli.verify",
]
"""Each module adds its commands to ``app`` when it is imported. None may import torch or tvm at import."""


ALONE = {
    "compare": "harness.cli.runs",
    "export": "harness.cli.history",
    "query": "harness.cli.history",
    "report": "harness.cli.report",
    "runs": "harness.cli.runs",
    "show": "harness.cli.runs",
}
"""Commands that need no other module; loading all of them would take longer than their work. Each module here has
several commands or imports one that has. An app with a single command would take the command's name for an argument."""


def load_commands(arguments: Sequence[str] = ()) -> None:
    """Load the module of the called command, or all of them, for help and for misspelt commands."""
    alone = ALONE.get(arguments[0]) if arguments else None
    for name in [alone] if alone else COMMAND_MODULES:
        importlib.import_module(name)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"harness {harness_version()}")
        raise typer.Exit


@app.callback()
def harness(
    version: Annotated[
        bool, typer.Option("--version", help="show the version and exit", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Compile a model with TVM, run it on a device, and compare it with PyTorch."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every outcome ends in one message and one of the documented exit codes."""
    quiet_pipes()
    code: int = ExitCode.OK
    try:
        load_commands(_called(sys.argv[1:] if arguments is None else arguments))
        # Without standalone mode typer raises its own errors instead of printing them. It returns the code of
        # typer.Exit, or nothing.
        command = _built(frozenset(COMMAND_MODULES) & frozenset(sys.modules))
        code = command(args=arguments, prog_name="harness", standalone_mode=False) or ExitCode.OK
        if code == INTERRUPTED:  # typer turns KeyboardInterrupt into this
            raise KeyboardInterrupt
    except HarnessError as error:
        fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", INTERRUPTED)
    except typer.TyperException as error:
        if not error.format_message():  # a command that needs arguments has printed its help
            finish(ExitCode.USAGE)
        fail(_usage(error), ExitCode.USAGE)
    except Exception as error:
        fail(_unexpected(error), ExitCode.INFRASTRUCTURE)
    finish(code)


@functools.cache
def _built(loaded: frozenset[str]) -> Callable[..., int | None]:
    """Return the application with the commands of the loaded modules, built once.

    typer builds it from every command's signature, which takes longer than most commands do: a process that runs
    several of them pays once.
    """
    return typer.main.get_command(app)


def _called(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments, or those that a shell wants to complete.

    Bash and fish use one variable for them, zsh another.
    """
    if COMPLETION not in os.environ:
        return arguments
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]


def _usage(error: typer.TyperException) -> str:
    """Return what is wrong with the command line, and the command that shows its help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "harness"
    return f"{' '.join(error.format_message().split())}\n  → {command} --help"


def _unexpected(error: Exception) -> str:
    """Describe an error of the system, or a fault of the harness itself."""
    if isinstance(error, OSError) and error.strerror:
        named = [str(name) for name in (error.filename, error.filename2) if name is not None]
        text = f"{': '.join([*named[:1], error.strerror])}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        cure = "make room" if full else "see that it is there and yours to use"
        cure += "; HARNESS_TRACEBACK=1 shows where it happened"
    else:
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:400]}"
        cure = "this is a fault of the harness: run it again with HARNESS_TRACEBACK=1 and report what it shows"
    return f"{text}\n  → {cure}" if not traceback_wanted() else "".join(traceback.format_exception(error)) + text


def fail(message: str, code: int) -> NoReturn:
    """Print a message to stderr and exit."""
    print(f"harness: {shown(message)}", file=sys.stderr)
    finish(code)


def finish(code: int) -> NoReturn:
    """Exit. Output that cannot be written, for instance to a full disk, is an error of its own."""
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"harness: standard output cannot be written: {error.strerror}", file=sys.stderr)
        code = code or ExitCode.INFRASTRUCTURE
        # Python would try again at exit and fail again.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.exit(code)
