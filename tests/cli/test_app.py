"""Commands that are loaded alone do what they do among all others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.cli.app import ALONE

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
