"""Modules of half types, a decoder of transformers, and inputs whose extents are multiples of a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import LlamaConfig, LlamaForCausalLM

from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler


class Halves(nn.Module):
    """float16, then bfloat16, whose products and biases would have different types."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True, dtype=torch.float16)
        self.convolution = nn.Conv1d(16, 8, 3, padding=1, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.attention(x, x, x)[0]
        return mixed, self.convolution(mixed.to(torch.bfloat16).transpose(1, 2)).float()


class Decoder(nn.Module):
    """transformers' own: its mask counts where sequences begin, and fewer key heads serve all queries."""

    def __init__(self) -> None:
        super().__init__()
        config = LlamaConfig(
            vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=48, max_position_embeddings=64, use_cache=False,
        )  # fmt: skip
        self.llama = LlamaForCausalLM(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.llama(input_ids=ids, attention_mask=mask).logits
        return result


class Halved(nn.Module):
    """An image of any size that can be halved twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        small = self.second(self.first(image).relu())
        result: Tensor = small + nn.functional.avg_pool2d(image, 4).mean(1, keepdim=True)
        return result


@torch.no_grad()
def test_half_modules_are_near_torch_in_the_types_of_torch() -> None:
    torch.manual_seed(1)
    module, x = Halves().eval(), torch.randn(2, 7, 16, dtype=torch.float16)
    for one, other, tolerance in zip(compiled(module, (x,))(x), answers(module, x), (2e-3, 2e-2), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.thorough
@torch.no_grad()
def test_a_decoder_of_any_length_with_padding_in_front() -> None:
    torch.manual_seed(1)
    module = Decoder().eval()

    def text(length: int) -> tuple[Tensor, Tensor]:
        mask = torch.ones(2, length, dtype=torch.int64)
        mask[1, : length // 3] = 0
        return torch.randint(0, 40, (2, length)), mask

    length = {1: Dim("n", min=2, max=64)}
    function = compiled(module, text(5), (length, length))
    for inputs in (text(2), text(9), text(64)):
        np.testing.assert_allclose(function(*inputs)[0], answers(module, *inputs)[0], atol=1e-5)


@torch.no_grad()
def test_extents_may_be_multiples_and_others_are_refused() -> None:
    torch.manual_seed(1)
    module = Halved().eval()
    sizes = ({2: 4 * Dim("rows", min=2, max=16), 3: 4 * Dim("columns", min=2, max=16)},)
    function = compiled(module, (torch.zeros(1, 3, 16, 24),), sizes)
    for rows, columns in ((8, 8), (16, 24), (64, 12)):
        image = torch.randn(1, 3, rows, columns)
        np.testing.assert_allclose(function(image)[0], answers(module, image)[0], atol=1e-5)
    with pytest.raises(RuntimeError, match="mismatch"):
        function(torch.randn(1, 3, 10, 8))
