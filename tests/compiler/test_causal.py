"""The kernel of causal attention to a cache, beside its meaning in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.compiler.kernels.causal import Causal, attend_causally
from harness.compiler.targets.profiles import AVX2
from harness.models.language.ops import attend_causally as meaning
from tests.compiler.kernels import build, empty, normal, tensor

pytestmark = pytest.mark.compiler

SHAPES = {
    "one head for each": Causal(2, 2, 16, 32, 2, 16),
    "three heads share": Causal(6, 2, 20, 48, 2, 20),
    "seven heads share, a window": Causal(7, 1, 64, 32, 2, 64, window=5),
    "norms in the heads": Causal(4, 2, 16, 32, 2, 16, head_norms=True, eps=1e-6),
    "capped scores": Causal(4, 2, 16, 32, 2, 16, window=7, cap=0.5),
    "no rotary positions, float16": Causal(4, 2, 12, 32, 2, 0, dtype="float16"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_rows_attend_to_what_came_before(name: str) -> None:
    """A block of 11 rows, then rows one by one, into the second layer."""
    shape = SHAPES[name]
    kernel = build(attend_causally(AVX2, shape, "t"))
    width = (shape.heads + 2 * shape.kv_heads) * shape.size
    rotation, norms = normal(shape.capacity, shape.rotary), normal(2, shape.size)
    cache = tensor(np.zeros((2, 2, shape.capacity * shape.kv_heads * shape.size), shape.dtype))
    expected_cache = torch.zeros(cache.shape, dtype=getattr(torch, shape.dtype))
    tolerance = 1e-5 if shape.dtype == "float32" else 1e-2
    weights: list[Any] = [tensor(rotation)] if shape.rotary else []
    weights += [tensor(norms)] if shape.head_norms else []
    for first, count in ((0, 11), (11, 1), (12, 1), (13, 9), (22, 1)):
        qkv, context = normal(count, width, seed=first), empty(count, shape.heads * shape.size)
        position = np.array([first], np.int32)
        kernel(tensor(qkv), *weights, tensor(np.array([1], np.int32)), tensor(position), cache, context)
        expected, expected_cache = meaning(
            torch.from_numpy(qkv),
            torch.from_numpy(rotation),
            torch.from_numpy(norms) if shape.head_norms else None,
            torch.from_numpy(position),
            expected_cache,
            1,
            shape.heads,
            shape.kv_heads,
            shape.window,
            shape.eps,
            shape.cap,
        )
        np.testing.assert_allclose(context.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance)
    assert not cache.numpy()[0].any(), "the other layer is untouched"
