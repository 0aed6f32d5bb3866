"""Models that are not ours, from torch.export to results: what patterns match, and what falls through, is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from harness.models.tensor.flat import compiled_function, flattened
from harness.models.tensor.readers import exported
from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler


class Attention(nn.Module):
    """Written out by hand: products of two activations, softmax, a mask by where."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.matmul(q, k.transpose(2, 3)) / (width // self.heads) ** 0.5
        past = torch.arange(length)[:, None] >= torch.arange(length)[None, :]
        weights = torch.where(past, scores, -1e9).softmax(-1)
        result: Tensor = x + self.out(torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width))
        return result


class Convolutions(nn.Module):
    """What no pattern of ours knows: convolutions of several kinds, batch norm, pooling, upsampling, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 7, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(7)
        self.apart = nn.Conv2d(7, 7, 3, padding=2, dilation=2, groups=7)
        self.last = nn.Conv2d(14, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.silu(self.norm(self.first(image)))
        pooled = F.max_pool2d(self.apart(x), 2)
        result: Tensor = self.last(torch.cat([F.interpolate(pooled, scale_factor=2.0), x], 1)).mean((2, 3))
        return result


class Chain(nn.Module):
    """Element-wise operations and reductions over odd extents."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(37, 70), nn.SiLU(), nn.Linear(70, 37), nn.Tanh())
        self.table = nn.Embedding(11, 37)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        y = self.mlp(x) * torch.sigmoid(x) + x.abs().sqrt()
        return torch.log_softmax(y - y.mean(1, keepdim=True), -1).cumsum(1)


def small_cnn() -> nn.Module:
    """What image classifiers are made of."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 5, padding=2, stride=2),
        nn.BatchNorm2d(24),
        nn.ReLU6(),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Conv2d(24, 40, 1),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(40, 10),
    )


class Separable(nn.Module):
    """Convolutions by channel with a squeeze and a residual, and one that makes an image larger."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(3 * channels, channels, 1)
        self.apart = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels)
        self.norm = nn.GroupNorm(3, 3 * channels)
        self.larger = nn.ConvTranspose2d(channels, 5, 2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.apart(F.gelu(self.wide(image)))
        x = self.norm(x) * x.mean((2, 3), keepdim=True).sigmoid()
        result: Tensor = torch.tanh(self.larger(image + self.narrow(x)))
        return result


def encoder(width: int, heads: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, heads, 2 * width + 3, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def odd_mlp() -> nn.Module:
    """Sizes that are no multiple of anything."""
    return nn.Sequential(
        nn.Linear(29, 131), nn.GELU(), nn.Linear(131, 67), nn.LayerNorm(67), nn.ELU(), nn.Linear(67, 3)
    )


class Waves(nn.Module):
    """Convolutions over time, as in front of an audio encoder, behind a product of two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(9, 33, 3, padding=1), nn.Conv1d(33, 20, 3, stride=2, padding=1)

    def forward(self, sound: Tensor) -> Tensor:
        x = F.gelu(self.second(F.softplus(self.first(sound))))
        result: Tensor = torch.matmul(x.softmax(-1), x.transpose(1, 2)).erf()
        return result


class Sound(nn.Module):
    """Convolutions over samples whose number is known only when it runs, one by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.apart = nn.Conv1d(1, 20, 7, stride=4, padding=3), nn.Conv1d(20, 20, 3, padding=1, groups=20)
        self.norm, self.last = nn.BatchNorm1d(20), nn.Conv1d(20, 33, 1)

    def forward(self, samples: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.first(samples[:, None])))
        result: Tensor = self.last(F.silu(self.apart(x))).mean(-1)
        return result


class Halves(nn.Module):
    """Integers in arithmetic whose results are none."""

    def forward(self, ids: Tensor) -> Tensor:
        shares = [ids / 40, ids * 0.5, 1.5 - ids, ids / (ids + 1), torch.sigmoid(ids), 2.5 ** ids.clamp(max=2.5)]
        result: Tensor = torch.stack(shares).sum(0) + (ids > 3) * ids + ids.float() * ids
        return result


class Bags(nn.Module):
    """Vectors of words: their mean, their sum, a weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(40, 12, mode=mode) for mode in ("mean", "sum"))

    def forward(self, ids: Tensor) -> Tensor:
        weighted = self.bags[1](ids, per_sample_weights=ids / 40)
        return torch.cat([*(bag(ids) for bag in self.bags), weighted], 1)


class Encoder(nn.Module):
    """transformers' own BERT: a mask of truth values, and tables cut to a dynamic length."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=40, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=70,
            max_position_embeddings=64,
        )  # fmt: skip
        self.bert = BertModel(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return result


def text(length: int, hidden: int = 0) -> tuple[Tensor, ...]:
    mask = torch.ones(2, length, dtype=torch.int64)
    mask[1, length - hidden :] = 0
    return torch.randint(0, 40, (2, length)), mask


class Picked(nn.Module):
    """Several indices at once, some counted from behind."""

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])[:, None]
        result: Tensor = x[torch.tensor([0, -1]), places, torch.tensor([2, -3])] * 2.0
        return result


class Moments(nn.Module):
    """Reductions to a single number, which steps without a loop go on with."""

    def forward(self, x: Tensor) -> Tensor:
        spread = ((x * x).mean() + 1e-3).sqrt()
        return (x - x.mean()) / spread + x.abs().max() * x.std(correction=0)


LENGTH = {1: Dim("n", min=1, max=64)}
# Before the weights are drawn, which happens when this file is imported, whatever was imported before it.
torch.manual_seed(1)
MODELS: dict[str, tuple[nn.Module, tuple[Tensor, ...], Any, list[tuple[Tensor, ...]]]] = {
    "attention": (
        Attention(36, 3),
        (torch.zeros(2, 5, 36),),
        (LENGTH,),
        [(torch.randn(2, length, 36),) for length in (1, 2, 17, 64)],
    ),
    "convolutions": (Convolutions(), (torch.zeros(1, 3, 36, 20),), None, [(torch.randn(1, 3, 36, 20),)]),
    "small cnn": (small_cnn(), (torch.zeros(2, 3, 31, 33),), None, [(torch.randn(2, 3, 31, 33),)]),
    "separable": (Separable(9), (torch.zeros(1, 9, 13, 11),), None, [(torch.randn(1, 9, 13, 11),)]),
    "encoder": (encoder(36, 3), (torch.zeros(2, 7, 36),), None, [(torch.randn(2, 7, 36),)]),
    "encoder of any length": (
        encoder(36, 3),
        (torch.zeros(2, 5, 36),),
        (LENGTH,),
        [(torch.randn(2, length, 36),) for length in (1, 17, 64)],
    ),
    "bert": (Encoder(), text(5), (LENGTH, LENGTH), [text(1), text(17, 4), text(64, 9)]),
    "picked": (
        Picked(),
        (torch.zeros(2, 5, 36),),
        (LENGTH,),
        [(torch.randn(2, length, 36),) for length in (1, 17)],
    ),
    "moments": (Moments(), (torch.zeros(3, 50),), None, [(torch.randn(3, 50),)]),
    "moments of any length": (
        Moments(),
        (torch.zeros(3, 5),),
        (LENGTH,),
        [(torch.randn(3, length),) for length in (1, 7, 33, 64)],
    ),
    "odd mlp": (odd_mlp(), (torch.zeros(7, 29),), None, [(torch.randn(7, 29),)]),
    "waves": (Waves(), (torch.zeros(2, 9, 51),), None, [(torch.randn(2, 9, 51),)]),
    "sound of any length": (
        Sound(),
        (torch.zeros(2, 64),),
        ({1: Dim("samples", min=8, max=500)},),
        [(torch.randn(2, length),) for length in (8, 63, 500)],
    ),
    "halves": (
        Halves(),
        (torch.zeros(3, 5, dtype=torch.int64),),
        (LENGTH,),
        [(torch.randint(0, 11, (3, length)),) for length in (2, 9)],
    ),
    "bags": (
        Bags(),
        (torch.zeros(3, 5, dtype=torch.int64),),
        (LENGTH,),
        [(torch.randint(0, 40, (3, length)),) for length in (2, 9)],
    ),
    "chain": (
        Chain(),
        (torch.zeros(3, 5, dtype=torch.int64),),
        (LENGTH,),
        [(torch.randint(0, 11, (3, length)),) for length in (1, 9, 64)],
    ),
}


@pytest.mark.thorough(keep=["attention-fp32", "bert-int8", "small cnn-*", "separable-fp32", "sound of any length-fp32"])
@torch.no_grad()
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_compiled_model_says_what_torch_says(name: str, precision: Any) -> None:
    module, example, dynamic, inputs = MODELS[name]
    function = compiled(module, example, dynamic, precision)
    for arguments in inputs:
        [expected], [ours] = answers(module, *arguments), function(*arguments)
        tolerance = 1e-5 if precision == "fp32" else 2e-2
        np.testing.assert_allclose(ours, expected, atol=tolerance * max(1.0, float(np.abs(expected).max())))


def test_an_exported_program_is_compiled_again_with_its_dynamic_sizes(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).eval()
    rows = ({0: Dim("rows", min=1, max=16)},)
    torch.export.save(torch.export.export(module, (torch.ones(2, 4),), dynamic_shapes=rows), tmp_path / "mine.pt2")
    spec = exported.spec(str(tmp_path / "mine.pt2"))
    function = compiled_function(spec, flattened(spec))
    call = compiled(function.module, function.example_inputs, function.dynamic_shapes)
    for count in (1, 7, 16):
        given = torch.linspace(-2, 2, count * 4).reshape(count, 4)
        np.testing.assert_allclose(call(given)[0], module(given).detach().numpy(), rtol=1e-5, atol=1e-6)
