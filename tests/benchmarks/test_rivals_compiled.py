"""The comparison with rivals, with the engines that the project's own environment has, run once in earnest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import rivals
from benchmarks.rival_names import MODELS
from harness.core.errors import ExitCode
from tests.benchmarks.test_rivals import OPTIONS

pytestmark = pytest.mark.compiler


@pytest.mark.thorough
def test_our_runner_beside_pytorch(tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    options = OPTIONS | {"models": "ds-cnn", "engines": "ours,pytorch", "rounds": 2, "deadline": 300.0}
    status = rivals.compare(console, options, json_path=tmp_path / "out.json")
    printed = console.export_text()
    assert status is ExitCode.OK, printed
    engines = json.loads((tmp_path / "out.json").read_text())["models"]["ds-cnn"]["engines"]
    for engine in engines.values():
        assert 0 <= engine["error"] < 1e-4
        assert [len(calls) >= 3 for calls in engine["rounds"]] == [True, True]
        assert engine["first_ns"] > 0
        assert engine["memory_bytes"] > 1_000_000
    assert len(engines["ours"]["load_ns"]) == 2
    assert engines["ours"]["size_bytes"] > 1_000_000
    assert engines["ours"]["facts"]["threads"] == "1"
    assert "ours: tvm" in printed


def test_every_name_has_a_model() -> None:
    from benchmarks import rival_models

    assert tuple(MODELS) == rival_models.BUILT
    for name in MODELS:
        spec = rival_models.spec(name)
        assert spec.name == name
        assert not callable(spec.items)
        assert list(spec.example_inputs) == list(spec.items["one"])
