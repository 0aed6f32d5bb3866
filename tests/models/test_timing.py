"""PyTorch itself, timed in a process that stays: G2P and a user's model, their answers, their times, its death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from harness.core.cache import Cache
from harness.core.worker import WorkerError, WorkerFailed
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word
from harness.models.g2p.workload import G2P
from harness.models.options import ModelOptions
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.models.tensor.workload import TensorModel
from harness.models.timing import TimingProcess
from harness.protocol.schema import Tensors
from harness.protocol.tensors import decode

pytestmark = pytest.mark.programs

MINE = """
import torch
from harness.models import ModelSpec

def build():
    if FAULTY:
        raise RuntimeError("no weights today")
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)

FAULTY = False
ITEMS = {"one": {"input": torch.ones(1, 4)}, "other": {"input": torch.zeros(1, 4)}}
MODEL = ModelSpec(name="mine", build=build, example_inputs={"input": torch.ones(1, 4)}, items=ITEMS)
"""


def quiet(_text: str) -> None: ...


@pytest.mark.thorough
def test_a_users_model_is_answered_timed_and_killed(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    [model] = describe_models([ModelSource("mine.py", tmp_path / "mine.py")], cache=cache, progress=quiet)
    process = TimingProcess([TensorModel(model).timed_model()], threads=1, deadline=300)
    try:
        process.settle(quiet)
        assert process.version
        for item, expected in model.expected().items():
            said = decode(Tensors.model_validate(process.answer("mine", {"item": item}, quiet)["tensors"]))
            np.testing.assert_allclose(said["output"], expected["output"], rtol=1e-6)
        taken = process.time("mine", {"item": "one"}, warm_ns=1_000_000, timed_ns=10**12, most=7)
        assert len(taken) == 7
        assert min(taken) > 0
        assert len(process.time("mine", {"item": "one"}, warm_ns=0, timed_ns=1, most=7)) == 1
        assert process.cpu_ns() > 0
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(WorkerFailed, match="timing_worker ended with status -9"):
            process.time("mine", {"item": "one"}, warm_ns=0, timed_ns=1, most=1)
    finally:
        process.close()

    (tmp_path / "mine.py").write_text(MINE.replace("FAULTY = False", "FAULTY = True"))
    broken = TimingProcess([TensorModel(model).timed_model()], threads=1, deadline=300)
    try:
        with pytest.raises(WorkerError, match="no weights today"):
            broken.settle(quiet)
    finally:
        broken.close()


def test_words_are_answered_as_the_reference_has_them(small_checkpoint: Checkpoint, cache: Cache) -> None:
    words = [Word("eng-us", "cat", ()), Word("fra", "chat", ())]
    reference = reference_outputs(
        small_checkpoint, words, ReferenceOptions(max_output_len=8), cache=cache, progress=quiet
    )
    process = TimingProcess(
        [G2P(small_checkpoint, ModelOptions(), words, cache).timed_model()], threads=1, deadline=300
    )
    try:
        for said in reference.items:
            item = {
                "item": said.word,
                "language": said.language,
                "word": said.word,
                "prompt_space": True,
                "max_output_len": 8,
            }
            assert process.answer("g2p", item, quiet)["token_ids"] == said.token_ids
            assert process.time("g2p", item, warm_ns=0, timed_ns=1, most=3)[0] > 0
    finally:
        process.close()
