"""The hooks use what the project installed: nothing is downloaded when somebody commits."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def hooks() -> list[dict[str, Any]]:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in configuration["repos"]] == ["local"]
    found: list[dict[str, Any]] = configuration["repos"][0]["hooks"]
    return found


def test_each_hook_is_a_program_that_is_there_already() -> None:
    assert {"ruff-format", "ruff-check", "mypy", "cargo-fmt"} <= {hook["id"] for hook in hooks()}
    for hook in hooks():
        assert hook["language"] == "system", hook["id"]
        program, *arguments = hook["entry"].split()
        if program.startswith(".venv/bin/"):
            assert Path(sys.executable).with_name(Path(program).name).is_file(), hook["id"]
        else:
            assert shutil.which(program), hook["id"]
        for argument in arguments:
            assert not argument.endswith(".py") or (ROOT / argument).is_file(), hook["id"]
