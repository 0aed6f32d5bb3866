"""GPTQ of int4 weights: beside the same rule written as the paper's, and beside rounding each weight alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.compiler.kernels.groups import grouped
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.models.kinds import open_workloads
from harness.models.language.calibration import DAMPING, CalibratedWeights, calibrate, rounded
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.families import describe
from harness.models.language.loading import transformers_model
from harness.models.language.shipped import HELD_OUT
from harness.models.language.weights import SeededWeights
from harness.models.options import ModelOptions

pytestmark = pytest.mark.compiler


def quiet(_text: str) -> None:
    pass


def alone(weight: Tensor, group: int) -> Tensor:
    """Each weight rounded to the nearest step, as the compiler does."""
    nibbles, scales = grouped(np.ascontiguousarray(weight.t().numpy()), group)
    found = (nibbles.astype(np.float32) - 8) * np.repeat(scales.astype(np.float32), group, axis=0)
    return torch.from_numpy(found[: weight.shape[1]].T.copy())


def correlated(rows: int, depth: int, seed: int) -> Tensor:
    """Inputs that depend on each other, as those of a layer do, float64 [rows, depth]."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    return torch.from_numpy(drawn.normal(0, 1, (rows, depth // 4)) @ drawn.normal(0, 1, (depth // 4, depth)))


def by_the_paper(weight: Tensor, gram: Tensor, group: int) -> Tensor:
    """The same with the inverse of what remains, updated one input after the other (its equations 2 and 3)."""
    gram = gram + torch.eye(len(gram), dtype=torch.float64) * DAMPING * gram.diagonal().mean()
    inverse, left = torch.linalg.inv(gram), weight.double().clone()
    for at in range(weight.shape[1]):
        if at % group == 0:
            part = left[:, at : at + group]
            largest = part.abs().argmax(1)
            scale = (part.gather(1, largest[:, None])[:, 0] / -8).half().double()
        step = torch.floor(left[:, at] / scale + 0.5).clamp(-8, 7)
        step[largest == at % group] = -8
        error = left[:, at] - step * scale
        left -= error[:, None] * inverse[at] / inverse[at, at]
        left[:, at] = step * scale
        inverse = inverse - inverse[:, at, None] * inverse[at] / inverse[at, at]
        inverse[at] = inverse[:, at] = 0
        inverse[at, at] = 1
    return left.float()


@pytest.mark.parametrize("group", [32, 64])
def test_rounding_is_the_papers_and_stays_as_it_is(group: int) -> None:
    drawn = np.random.Generator(np.random.PCG64(1))
    weight = torch.from_numpy(drawn.normal(0, 0.1, (24, 128)).astype(np.float32))
    inputs = correlated(400, 128, 2)
    found = rounded(weight, inputs.t() @ inputs, group)
    expected = by_the_paper(weight, inputs.t() @ inputs, group)
    # A weight that is in the middle between two steps may go to either, and then all that follow differ.
    assert (found == expected).float().mean() > 0.98
    assert torch.equal(alone(found, group), found), "the compiler stores it as it is"

    def error(other: Tensor) -> float:
        return float((inputs @ (other.double() - weight.double()).t()).norm())

    assert error(found) < 0.75 * error(alone(weight, group))


def test_inputs_that_are_always_zero_and_weights_of_zeros() -> None:
    weight = torch.zeros(3, 64)
    weight[1, :32] = torch.linspace(-1, 1, 32)
    inputs = correlated(50, 64, 3)
    inputs[:, 5] = 0
    found = rounded(weight, inputs.t() @ inputs, 32)
    assert torch.isfinite(found).all()
    assert torch.equal(found[0], weight[0])
    assert torch.equal(alone(found, 32), found)


@pytest.mark.parametrize("name", ["tiny-llama", "gpt2"])
def test_all_layers_are_rounded_and_nothing_else(name: str) -> None:
    """The logits over the text are nearer to those of the model than if each weight is rounded alone."""
    small = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 256, "n_positions": 128} if name == "gpt2" else {}
    config = {**CONFIGURATIONS[name], **small}
    decoder = describe(config)
    weights = SeededWeights(decoder)
    drawn = np.random.Generator(np.random.PCG64(4))
    tokens = drawn.integers(0, 256, (19, 64)).tolist()
    whole, better = transformers_model(config, weights), transformers_model(config, weights)
    said: list[str] = []
    calibrate(better, tokens, 32, said.append)
    assert len(said) == 2
    given = CalibratedWeights(weights, better)
    nearest = transformers_model(config, weights)
    products = 0
    for key, weight in nearest.named_parameters():
        shape = tuple(weight.shape)
        if key in given.rounded:
            stored = given.take(key, shape)
            turned = stored.t().contiguous() if name == "gpt2" else stored
            assert torch.equal(alone(turned, 32), turned)
            same = weight.detach().t().contiguous() if name == "gpt2" else weight.detach()
            rounded_alone = alone(same, 32)
            weight.data.copy_(rounded_alone.t() if name == "gpt2" else rounded_alone)
            products += 1
        else:
            assert torch.equal(given.take(key, shape), weights.take(key, shape))
    assert products == (8 if name == "gpt2" else 14)
    batch = torch.tensor(tokens)
    with torch.inference_mode():
        logits = [model(input_ids=batch).logits for model in (whole, better, nearest)]
    assert (logits[1] - logits[0]).norm() < 0.9 * (logits[2] - logits[0]).norm()


def opened(cache: Cache, precision: str, **own: Any) -> Any:
    options = ModelOptions(models=("byte-lm",), precision=precision, own=own)  # type: ignore[arg-type]
    return open_workloads(options, cache=cache, progress=quiet)[0]


def test_the_text_is_part_of_what_is_compiled(cache: Cache, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(HELD_OUT.read_text(encoding="utf-8")[:9000], encoding="utf-8")
    plain, asked = opened(cache, "int4"), opened(cache, "int4", calibrate=str(text))
    assert {len(window) for window in asked.calibration} == {256}
    assert len(asked.calibration) == len(text.read_bytes()) // 256
    assert bytes(asked.calibration[3]) == text.read_bytes()[768:1024]
    assert plain.compilable("").identity != asked.compilable("").identity
    assert asked.compilable("").request["calibration"] == asked.calibration
    assert len(opened(cache, "int4", calibrate=str(HELD_OUT)).calibration) == 128
    with pytest.raises(UsageError, match="is for int4, not for int8"):
        opened(cache, "int8", calibrate=str(text))
    (tmp_path / "short.txt").write_text("too short", encoding="utf-8")
    with pytest.raises(UsageError, match=r"short\.txt has 9 tokens, and a window has 256"):
        opened(cache, "int4", calibrate=str(tmp_path / "short.txt"))
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        open_workloads(
            ModelOptions(models=("random:tiny-llama",), precision="int4", own={"calibrate": str(text)}),
            cache=cache,
            progress=quiet,
        )
