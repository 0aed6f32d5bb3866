"""NaN and infinities go through a model as in PyTorch: a maximum of NaN and a number is NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.compiler.compiled import answers, compiled
from tests.compiler.test_indexing import All, Part

pytestmark = pytest.mark.compiler

PARTS: dict[str, Part] = {
    "relu": F.relu,
    "relu of a product": lambda x: F.relu(F.linear(x, torch.eye(24))),
    "bounded": lambda x: x.clamp(-1, 1) + x.clamp(min=-2) + x.clamp(max=2),
    "hard": lambda x: F.hardswish(x) + F.hardsigmoid(x) + F.relu6(x),
    "bent": lambda x: F.elu(x) + F.leaky_relu(x) + F.softplus(x) + F.silu(x),
    "larger": lambda x: torch.maximum(x, x.flip(0)),
    "smaller": lambda x: torch.minimum(x, x.flip(1)),
    "largest of a row": lambda x: x.amax(1),
    "largest of a column": lambda x: x.amax(0),
    "smallest of all": lambda x: x.min(),
    "place in a row": lambda x: x.argmax(1),
    "place in a column": lambda x: x.argmin(0),
    "both": lambda x: x.max(0).values + x.max(0).indices,
    "largest of infinities": lambda x: torch.where(x > 9, x, -math.inf).amax(1),
    "pool": lambda x: F.max_pool2d(x[None, None], 3, 1, 1),
    "exponentials": lambda x: torch.exp(x) + torch.tanh(x) + torch.sigmoid(x),
    "shares": lambda x: x.softmax(1) + x.softmax(0),
    "in order": lambda x: x.sort(1).values + x.sort(1, descending=True).values,
    "in order, by column": lambda x: x.sort(stable=True, dim=0).values,
    "the five largest": lambda x: x.topk(5, 1).values + x.topk(5, 1, largest=False).values,
    "in the middle": lambda x: x.median(1).values + x.nanmedian(1).values + x.kthvalue(3, 1).values,
    "unequal": lambda x: (x != x.flip(0)).float() + (x != 1).float() + x.isnan().float(),
}


@torch.no_grad()
def test_nan_and_infinities_are_handed_on() -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 24)
    function = compiled(All(PARTS), (x,))
    for odd in ({}, {(0, 0): math.nan, (3, 7): math.nan, (19, 23): math.nan}, {(2, 5): math.inf, (4, 4): -math.inf}):
        given = x.clone()
        for place, value in odd.items():
            given[place] = value
        for name, one, other in zip(PARTS, function(given), answers(All(PARTS), given), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=f"{name} with {list(odd.values())}")


ATTENTION: dict[str, Part] = {
    "attention": lambda x: F.scaled_dot_product_attention(x[None, :, None], x[None, :, None], x.flip(0)[None, :, None]),
    "attention of rows": lambda x: F.scaled_dot_product_attention(x[None, None], x[None, None].abs(), x[None, None]),
}


@torch.no_grad()
def test_attention_to_or_from_nan_is_nan() -> None:
    """As softmax and products give it; torch's fused kernel makes 0 of a row that is NaN."""
    torch.manual_seed(0)
    x = torch.randn(20, 24)
    function = compiled(All(ATTENTION), (x,))
    x[3, 7] = math.nan
    with sdpa_kernel(SDPBackend.MATH):
        expected = answers(All(ATTENTION), x)
    for name, one, other in zip(ATTENTION, function(x), expected, strict=True):
        assert np.isnan(other).any(), name
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)
