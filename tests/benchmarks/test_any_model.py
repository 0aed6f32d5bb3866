"""The comparison with PyTorch of models that are not ours: run once in earnest, and with an engine that lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import any_model
from benchmarks.torch_models import EXAMPLES
from tests.environment import python_path

pytestmark = pytest.mark.compiler

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_a_quick_run_writes_every_sample(tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/any_model.py", "--quick", "--json", str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": python_path(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert found["wrong"] == []
    assert list(found["samples_ns"]) == [example.name for example in EXAMPLES[-2:]]
    for engines in found["samples_ns"].values():
        assert {name: len(times) for name, times in engines.items()} == dict.fromkeys(any_model.ENGINES, 2)
        assert all(time > 0 for times in engines.values() for time in times)


def test_another_answer_is_noticed() -> None:
    right = torch.tensor([1.0, -2.0])
    engines = {name: (lambda: right) for name in any_model.ENGINES}
    assert any_model.agree(engines)
    assert not any_model.agree(engines | {"with": lambda: right + 1e-3})
    assert not any_model.agree(engines | {"without": lambda: -right})
