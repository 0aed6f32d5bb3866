"""What the commands that package give to the compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli import elsewhere, package
from harness.cli.app import app, load_commands
from harness.compiler import CompileRequest


class Compiling(Exception):
    """Ends a command where it would compile."""


@pytest.mark.parametrize("language", ["ios", "c", "kotlin", "swift"])
def test_layers_to_keep_wide_reach_the_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, language: str) -> None:
    asked: list[CompileRequest] = []

    def compile_models(request: CompileRequest, **_others: Any) -> None:
        asked.append(request)
        raise Compiling

    monkeypatch.setattr(package, "compilables", lambda *_arguments, **_others: [])
    monkeypatch.setattr(elsewhere, "compile_models", compile_models)
    load_commands()
    wide = ["--precision", "int8", "--keep-wide", "encoder/*", "--keep-wide", "head"]
    result = CliRunner().invoke(app, ["package", language, *wide, "--output-dir", str(tmp_path)])
    assert isinstance(result.exception, Compiling), result.output
    assert [(one.precision, list(one.keep_wide)) for one in asked] == [("int8", ["encoder/*", "head"])]
