"""Models that are not ours, from torch.export to results: what patterns match, and what falls through, is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import tvm
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F
from tvm import relax

from harness.compiler.lower import import_function, lower, tvm_target
from harness.compiler.passes.fused import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.spec import ModelFunction


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


LENGTH = {1: Dim("n", min=1, max=64)}
MODELS: dict[str, tuple[nn.Module, tuple[Tensor, ...], Any, list[tuple[Tensor, ...]]]] = {
    "attention": (
        Attention(36, 3),
        (torch.zeros(2, 5, 36),),
        (LENGTH,),
        [(torch.randn(2, length, 36),) for length in (1, 2, 17, 64)],
    ),
    "convolutions": (Convolutions(), (torch.zeros(1, 3, 36, 20),), None, [(torch.randn(1, 3, 36, 20),)]),
    "chain": (
        Chain(),
        (torch.zeros(3, 5, dtype=torch.int64),),
        (LENGTH,),
        [(torch.randint(0, 11, (3, length)),) for length in (1, 9, 64)],
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_compiled_model_says_what_torch_says(name: str, precision: Any) -> None:
    torch.manual_seed(1)
    module, example, dynamic, inputs = MODELS[name]
    host, ops = resolve_target("llvm"), OpTable()
    imported = import_function(ModelFunction(name, module.eval(), example, dynamic), ops)
    executable = lower(imported, tvm_target(host), Recipe(host.profile, precision, f"{name}_", ops))
    function = relax.VirtualMachine(executable, tvm.cpu())["main"]
    for arguments in inputs:
        expected: npt.NDArray[np.float32] = module(*arguments).numpy()
        ours = function(*(tvm.runtime.tensor(argument.numpy()) for argument in arguments)).numpy()
        tolerance = 1e-5 if precision == "fp32" else 2e-2
        np.testing.assert_allclose(ours, expected, atol=tolerance * max(1.0, float(np.abs(expected).max())))
