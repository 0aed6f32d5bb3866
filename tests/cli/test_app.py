"""Commands that are loaded alone do what they do among all others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from harness.cli.app import ALONE, app, load_commands
from harness.cli.opening import typed

SCRIPT = """
import sys
from harness.cli import app, main
try:
    main([sys.argv[1], "--help"])
except SystemExit as done:
    loaded = [name for name in sys.modules if name.startswith("harness.cli.")]
    print("loaded", *loaded, *(name for name in ("scipy", "adbutils", "torch") if name in sys.modules))
    raise
"""


@pytest.mark.programs
@pytest.mark.parametrize("command", sorted(ALONE))
def test_a_command_alone(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"Usage: harness {command} " in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert ALONE[command] in loaded
    assert not loaded & {"scipy", "adbutils", "torch", "harness.cli.maintenance", "harness.cli.nightly"}


def test_a_command_line_is_kept_without_what_it_wrote() -> None:
    load_commands()
    explain = typer.main.get_command(app).commands["explain"]  # type: ignore[attr-defined]
    devices = ["--device", "android", "--serial", "a b"]
    context = explain.make_context("explain", ["latest", *devices, "--html", "page.html", "--all"])
    assert typed(context, leave_out=("run", "html", "everything")) == devices
    assert typed(context, leave_out=("run",)) == [*devices, "--html", "page.html", "--all"]
    assert typed(explain.make_context("explain", [])) == []
