"""MetaSchedule as an option: records on disk, nothing measured twice, a killed run resumed, foreign targets refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import nn
from tvm import relax

from harness.compiler import compile_models
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.schedule.tuning import DONE, RECORDS, Tuning, drop_broken_end
from harness.compiler.targets import resolve_target
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.models.functions import ModelFunction
from harness.models.g2p.checkpoints import Checkpoint
from tests.compile_requests import SMALL, g2p_request
from tests.environment import python_path

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]

TRIALS = 4
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.compiler.test_tuning import compile_tuned

class Killer(list):
    def append(self, text):
        if ": 10 of" in text:
            os.kill(os.getpid(), signal.SIGKILL)

compile_tuned(Path(sys.argv[1]), 64, Killer())
"""
"""Tunes until two candidates of the second batch are measured."""
PREFIX = "tuned_"


class Likeness(nn.Module):
    """Sums over an axis of products of activations, for which there is no template."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((x[:, :, None] * x[:, None]).sum(-1))


def compile_tuned(folder: Path, trials: int, said: list[str] | None = None) -> tuple[Tuning, float]:
    """A model of one product, tuned; the largest difference from torch's answer."""
    torch.manual_seed(3)
    model, x = Likeness().eval(), torch.randn(3, 9, 14)
    host, ops = resolve_target("llvm"), OpTable()
    tuning = Tuning(folder, trials, (said if said is not None else []).append)
    imported = import_function(ModelFunction("main", model, (x,), (None,)), ops)
    recipe = Recipe(host.profile, "fp32", f"{PREFIX}{folder.name}_{trials}_", ops)
    function = relax.VirtualMachine(lower(imported, tvm_target(host), recipe, tuning), tvm.cpu())["main"]
    ours = function(tvm.runtime.tensor(x.numpy())).numpy()
    return tuning, float(np.abs(ours - model(x).detach().numpy()).max())


def count(folder: Path) -> int:
    path = folder / RECORDS
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.thorough
def test_trials_are_kept_and_never_measured_again(tmp_path: Path) -> None:
    said: list[str] = []
    first, error = compile_tuned(tmp_path, TRIALS, said)
    assert error < 1e-5
    assert first.measured == first.tuned_trials == count(tmp_path) == TRIALS
    assert said[-1].endswith(f"{TRIALS} of {TRIALS} trials")
    again, error = compile_tuned(tmp_path, TRIALS)
    assert error < 1e-5
    assert (again.measured, again.tuned_trials) == (0, TRIALS)
    assert again.used == first.used
    more, _ = compile_tuned(tmp_path, TRIALS + 2)
    assert (more.measured, count(tmp_path)) == (2, TRIALS + 2)
    assert more.used != first.used


@pytest.mark.thorough
def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    """kill -9 behind the first batch; what was measured until then is not measured again."""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": python_path(Path(root))},
        timeout=500,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    kept = count(tmp_path)
    assert kept == 8
    assert not (tmp_path / DONE).exists()
    with (tmp_path / RECORDS).open("a") as stream:
        stream.write('[0, [["half a rec')  # what a kill in the middle of a line leaves
    resumed, error = compile_tuned(tmp_path, kept + 2)
    assert error < 1e-5
    assert resumed.measured == 2
    assert count(tmp_path) == kept + 2


def test_only_an_unfinished_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / RECORDS
    path.write_text("[1]\n[2]\n[3")
    drop_broken_end(path)
    assert path.read_text() == "[1]\n[2]\n"
    drop_broken_end(path)
    assert path.read_text() == "[1]\n[2]\n"


def test_targets_of_other_machines_are_refused(small_checkpoint: Checkpoint, cache: Cache) -> None:
    request = g2p_request(small_checkpoint, target="ios-arm64", tune=1)
    with pytest.raises(UsageError, match="measures on this machine"):
        compile_models(request, cache=cache, progress=lambda _text: None)


@pytest.mark.thorough
def test_an_archive_names_its_trials(small_checkpoint: Checkpoint, cache: Cache, user_cache: Cache) -> None:
    """The G2P models have a template for everything that could be tuned."""
    request = g2p_request(small_checkpoint, **SMALL, tune=2)
    archive = compile_models(request, cache=cache, progress=lambda _text: None)
    assert archive.metadata.tuned_trials == 0
    # Other tests compile this one, too.
    plain = compile_models(replace(request, tune=0), cache=user_cache, progress=lambda _text: None)
    assert plain.folder.name != archive.folder.name
