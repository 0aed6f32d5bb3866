"""torch's attention in all its forms: masks of any kind, causal, shared keys, a scale of its own, with and without
heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler

LENGTH = {2: Dim("n", min=2, max=64)}


class Attends(nn.Module):
    def __init__(self, mask: Tensor | None = None, **options: Any) -> None:
        super().__init__()
        self.mask, self.options = mask, options

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, self.mask, **self.options)


def sides(*shape: int, keys: int | None = None, groups: int | None = None) -> tuple[Tensor, ...]:
    """A query of that shape; keys and values with another length, and fewer heads, if asked for."""
    other = list(shape)
    other[-2] = keys or shape[-2]
    if groups is not None:
        other[1] = groups
    return torch.randn(shape), torch.randn(other), torch.randn(other)


FORMS: dict[str, tuple[Attends, tuple[Tensor, ...]]] = {
    "causal": (Attends(is_causal=True), sides(2, 3, 9, 8)),
    "causal with more keys": (Attends(is_causal=True), sides(1, 3, 5, 8, keys=9)),
    "a scale of its own": (Attends(scale=0.1, is_causal=True), sides(1, 2, 6, 8)),
    "shared keys": (Attends(enable_gqa=True), sides(2, 6, 7, 8, groups=2)),
    "mask of two axes": (Attends(torch.randn(5, 7)), sides(2, 3, 5, 8, keys=7)),
    "mask of truth values": (Attends(torch.ones(5, 5).tril().bool()), sides(2, 3, 5, 8)),
    "mask of three axes": (Attends(torch.randn(3, 5, 5)), sides(2, 3, 5, 8)),
    "no heads": (Attends(torch.randn(2, 5, 5), scale=0.3), sides(2, 5, 8)),
    "one sequence": (Attends(torch.randn(5, 5), scale=0.3), sides(5, 8)),
    "one causal sequence": (Attends(is_causal=True), sides(5, 8)),
}


@torch.no_grad()
@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_what_torch_says(name: str) -> None:
    torch.manual_seed(1)
    module, example = FORMS[name]
    [expected], [ours] = answers(module, *example), compiled(module, example)(*example)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@torch.no_grad()
def test_causal_attention_of_any_length() -> None:
    torch.manual_seed(1)
    module = Attends(is_causal=True)
    function = compiled(module, sides(2, 3, 5, 8), (LENGTH, LENGTH, LENGTH))
    for length in (2, 5, 64):
        inputs = sides(2, 3, length, 8)
        np.testing.assert_allclose(function(*inputs)[0], answers(module, *inputs)[0], atol=1e-5)


@torch.no_grad()
def test_queries_that_see_no_key_have_zeros() -> None:
    mask = torch.ones(5, 7).bool()
    mask[1], mask[3, 2:] = False, False
    module, inputs = Attends(mask), sides(2, 3, 5, 8, keys=7)
    [ours] = compiled(module, inputs)(*inputs)
    assert not ours[:, :, 1].any()
    np.testing.assert_allclose(ours, answers(module, *inputs)[0], atol=1e-5)


@pytest.mark.thorough(keep=["fixed"])
@torch.no_grad()
@pytest.mark.parametrize(
    "dynamic", [None, (LENGTH, LENGTH, LENGTH, {0: LENGTH[2], 1: LENGTH[2]})], ids=["fixed", "dynamic"]
)
def test_attention_without_a_kernel_is_written_out(dynamic: Any) -> None:
    """Doubles, values of another size than the keys', a mask that hides all."""

    class Forms(nn.Module):
        def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> list[Tensor]:
            double = F.scaled_dot_product_attention(query.double(), key.double(), value.double(), scale=0.1)
            wide = torch.cat([value, value[..., :3]], -1)
            hidden = torch.where(mask, 0.0, -torch.inf)
            one_key_head = F.scaled_dot_product_attention(query, key[:, :1], value[:, :1], is_causal=True)
            return [double, F.scaled_dot_product_attention(query, key, wide, hidden), one_key_head]

    mask = torch.ones(5, 5).tril(-1).bool()
    inputs = (*sides(2, 3, 5, 8), mask)
    for one, other in zip(compiled(Forms(), inputs, dynamic)(*inputs), answers(Forms(), *inputs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
