"""What a worker says of a model is kept until something that the model is made of changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.compiler import compile_models
from harness.core.cache import Cache
from harness.core.worker import WorkerError
from harness.models.kinds import ModelsClash
from harness.models.tensor.described import UserModel, describe_models
from harness.models.tensor.sources import ModelSource
from tests.compile_requests import models_request

pytestmark = pytest.mark.programs

MINE = """
import torch
from beside import SCALE
from harness.models import ModelSpec

class Scale(torch.nn.Module):
    def forward(self, x):
        return {"scaled": SCALE * x}

MODEL = ModelSpec(name="mine", build=Scale, example_inputs={"x": torch.ones(2)}, items={"ones": {"x": torch.ones(2)}},
                  files=["weights.bin"])
"""


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("SCALE = 2\n")
    (tmp_path / "weights.bin").write_bytes(b"1")
    return ModelSource("mine.py", tmp_path / "mine.py")


def test_answers_are_kept_and_made_again_when_a_file_changes(source: ModelSource, cache: Cache) -> None:
    said: list[str] = []

    def describe() -> UserModel:
        said.clear()
        [model] = describe_models([source], cache=cache, progress=said.append)
        return model

    first = describe()
    assert said
    assert [*first.inputs()] == ["ones"]
    np.testing.assert_array_equal(first.expected()["ones"]["scaled"], [2, 2])
    assert describe().key == first.key
    assert not said, "nothing has changed, and PyTorch was asked again"
    (source.path.parent / "beside.py").write_text("SCALE = 3\n")
    second = describe()
    assert said
    assert second.key != first.key
    np.testing.assert_array_equal(second.expected()["ones"]["scaled"], [3, 3])
    (source.path.parent / "beside.py").write_text("SCALE = 2\n")
    assert describe().key == first.key
    assert not said

    (source.path.parent / "weights.bin").unlink()
    with pytest.raises(WorkerError, match=r"weights\.bin, which is not there") as told:
        describe()
    assert told.value.kind == "BadModel"


def test_two_files_with_one_model_clash(source: ModelSource, cache: Cache) -> None:
    models = describe_models([source, source], cache=cache, progress=lambda _text: None)
    with pytest.raises(ModelsClash, match="two models are named 'mine'"):
        compile_models(models_request(models), cache=cache, progress=lambda _text: None)


@pytest.mark.compiler
def test_weights_that_differ_each_time_are_told_before_anything_is_compared(tmp_path: Path, cache: Cache) -> None:
    text = MINE.replace("from beside import SCALE\n", "").replace("build=Scale", "build=lambda: torch.nn.Linear(2, 2)")
    text = text.replace('"x"', '"input"').replace('files=["weights.bin"]', "")
    (tmp_path / "mine.py").write_text(text)
    source = ModelSource("mine.py", tmp_path / "mine.py")
    models = describe_models([source], cache=cache, progress=lambda _text: None)
    with pytest.raises(WorkerError, match=r"gives other weights each time\n  → .* torch\.manual_seed") as told:
        compile_models(models_request(models), cache=cache, progress=lambda _text: None)
    assert told.value.kind == "BadModel"
