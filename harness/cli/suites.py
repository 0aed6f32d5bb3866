"""Define ``harness run`` and ``harness bench``: the suites without typing pytest's name."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from harness.cli.app import app

SUITES = "suites"
TIMED = "smoke or latency or pairs"
"""The tests that ``bench`` selects by their names: the runner's start, the timed passes of every model, and its turns
next to PyTorch."""
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(
    context_settings=PASSED_ON,
    epilog="Examples:\n\n  harness run --device host\n\n  harness run --device android --checkpoint ./my-byt5"
    "\n\nThe options are those of pytest and of the suites: pytest suites --help",
)
def run(context: typer.Context) -> None:
    """Run all suites on a device: the same as `pytest suites …`, with its exit codes.

    Exit status 0 when everything agrees, 1 for a mismatch or regression, 2 for wrong usage, 3 for what could not be
    decided.
    """
    _pytest([SUITES, *context.args])


@app.command(
    context_settings=PASSED_ON,
    epilog="Examples:\n\n  harness bench --device host\n\n  harness bench --device android --repeat 50",
)
def bench(context: typer.Context) -> None:
    """Run only the suites that start and time the models: `pytest suites -k 'smoke or latency or pairs' …`."""
    _pytest([SUITES, "-k", TIMED, *context.args])


def _pytest(arguments: list[str]) -> NoReturn:
    """Replace this process by pytest, so that signals, the terminal and the exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])
