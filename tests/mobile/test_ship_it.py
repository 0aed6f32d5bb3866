"""The commands for C of docs/tutorials/ship-it.md run as shown; those of docs/ship-it.md have these options."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from tests.docs.blocks import blocks
from tests.mobile.conftest import ROOT, WORDS, AppModels

load_commands()
PAGES = (ROOT / "docs/tutorials/ship-it.md", ROOT / "docs/ship-it.md")
BLOCKS = [block.body for page in PAGES for block in blocks(page) if block.language == "sh"]
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("command", [one for one in COMMANDS if one[0] == "harness"], ids=" ".join)
def test_every_command_has_these_options(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    found = get_command(app)
    rest = command[1:]
    while (commands := getattr(found, "commands", None)) is not None:
        found = commands[rest[0]]
        rest = rest[1:]
    # Parsed and not run: an unknown option is an error.
    found.make_context(command[1], rest, resilient_parsing=False)


@pytest.mark.compiler
def test_the_commands_for_c_end_in_an_app(
    tmp_path: Path, app_models: AppModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = [block for block in BLOCKS if "package c " in block]
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).with_name("scaled_model.py"), tmp_path)
    package, verify, compile_c, run = block.replace("flowers.py", "scaled_model.py").splitlines()
    # The order in which the shared library of the tests has the models.
    package = package.replace("--models scaled_model.py --models g2p", "--models g2p --models scaled_model.py")
    for line in (package, verify.replace(" --run latest", "")):
        done = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    environment = os.environ | {"PWD": str(tmp_path)}
    subprocess.run(["sh", "-ec", compile_c], cwd=tmp_path, env=environment, check=True)
    answered = subprocess.run(
        ["sh", "-ec", run], cwd=tmp_path, env=environment, check=True, capture_output=True, encoding="utf-8"
    )
    expected = dict(zip(WORDS, app_models.phonemes, strict=True))
    assert answered.stdout.splitlines() == [f"{word}\t{expected[word]}" for word in ("Char", "siu")]
