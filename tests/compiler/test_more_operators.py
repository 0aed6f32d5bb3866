"""Operators that TVM's importer lacks or gets wrong: sorting, writing to places, mixed types; also of any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.ao.quantization.fx import _decomposed
from torch.export import Dim
from torch.nn import functional as F

from tests.compiler.compiled import answers, compiled
from tests.compiler.test_indexing import All, Part

pytestmark = pytest.mark.compiler

assert _decomposed, "importing it registers torch's own operators"
Q = torch.ops.quantized_decomposed
PLACES = torch.tensor([3, 0])
"""Of an axis of at least four."""


def broken(x: Tensor) -> Tensor:
    """With numbers that are none, and equal ones."""
    return torch.where(x > 1, torch.nan, (2 * x).round())


def written(x: Tensor, axis: int) -> Tensor:
    """A cache that new rows are written into, in place."""
    cache = x.clone()
    cache[(slice(None),) * axis + (PLACES,)] = x.narrow(axis, 1, 2) * 2
    return cache


def apart(x: Tensor) -> Tensor:
    x = x.clone()
    x[torch.tensor([0, 1]), :, PLACES] = x[:, :, 1]
    return x


def image(x: Tensor) -> Tensor:
    return x[:, None, :4] * torch.arange(1.0, 4)[:, None, None]


SORTING: dict[str, Part] = {
    "order": lambda x: broken(x).sort(dim=1, stable=True).values,
    "places": lambda x: broken(x).argsort(dim=-1, stable=True),
    "places downwards": lambda x: broken(x).argsort(dim=1, descending=True, stable=True),
    "integers downwards": lambda x: (4 * x).long().sort(dim=0, descending=True, stable=True)[0],
    "largest": lambda x: x.topk(3, 1).values,
    "places of the smallest": lambda x: x.topk(2, largest=False).indices,
    "third": lambda x: x.kthvalue(3, 1, keepdim=True).values,
    "middle": lambda x: x.median(1).values,
    "middle of all": lambda x: x.median(),
    "middle of broken ones": lambda x: broken(x).median(1).values,
}
WRITING: dict[str, Part] = {
    "rows": lambda x: written(x, 1),
    "last axis": lambda x: written(x, 2),
    "columns": lambda x: x.index_copy(2, PLACES, x[:, :, 4:]),
    "two axes": lambda x: x.index_put((torch.tensor([[0], [1]]), PLACES), x[0, 0]),
    "apart": apart,
    "sum": lambda x: x.index_add(1, torch.tensor([2, 1, 2]), x[:, :3]),
    "where it is true": lambda x: x.masked_fill(x > 1, 0).index_put((x[:, :, 0] > 0,), torch.tensor(-1.0)),
    "scattered": lambda x: x.scatter(1, PLACES.reshape(1, 2, 1).expand(2, 2, 6), x),
    "a number": lambda x: x.scatter(2, PLACES.expand(2, 2, 2), 0.5),
    "read": lambda x: x.gather(1, PLACES.expand(2, 4, 2)) + x.gather(2, PLACES.reshape(1, 1, 2)[:, [0, 0, 0, 0]]),
    "added": lambda x: x.scatter_add(1, torch.tensor([3, 0, 3]).reshape(1, 3, 1).expand(2, 3, 6), x),
}
for _reduce, _self in (("mean", True), ("mean", False), ("amax", False)):
    WRITING[f"{_reduce} of several, {_self}"] = (
        lambda x, r=_reduce, s=_self: x.scatter_reduce(  # type: ignore[misc]
            1, torch.tensor([3, 0, 3]).reshape(1, 3, 1).expand(2, 3, 6), x[:, 1:], r, include_self=s
        )
    )
MIXED: dict[str, Part] = {
    "running count": lambda x: (x > 0).cumsum(1),
    "halves of counts": lambda x: (4 * x).long() > 0.5,
    "whole and half": lambda x: torch.cat([(4 * x).long(), x], 1),
    "one or the other": lambda x: torch.where(x > 0, (4 * x).int(), x),
    "equal to a fraction": lambda x: (4 * x).long() == 0.25 * (4 * x).long(),
    "halves": lambda x: (0.5 * (4 * x).round()).round() + torch.round(x, decimals=1),
    "whole quotient": lambda x: (
        torch.div((9 * x).long(), 2, rounding_mode="floor") + torch.div(x, 0.3, rounding_mode="trunc")
    ),
    "nearest": lambda x: F.interpolate(image(x), size=(9, 7), mode="nearest"),
    "by a fraction": lambda x: F.interpolate(image(x), scale_factor=1.7, mode="nearest"),
    "blurred by a fraction": lambda x: F.interpolate(image(x), scale_factor=1.7, mode="bilinear"),
    "norm without a bias": lambda x: F.layer_norm(x, (6,), torch.arange(6.0), None) + F.layer_norm(x, (6,)),
    "groups without a bias": lambda x: F.group_norm(image(x), 3, torch.arange(3.0)),
    "products": lambda x: (
        (9 * x).long() @ (9 * x).long().transpose(1, 2)
        + torch.addmm(x[0, 0, :5].double(), x[0].double(), x[1, :5].double().T, beta=0.3, alpha=2.0).sum()
    ),
    "truth values": lambda x: ((x > 0) == (x > 1)) * (x > -1) + (x > 2),
    "sampled": lambda x: F.grid_sample(image(x), x[:, :4].view(2, 4, 3, 2), align_corners=False),
    "a divisor": lambda x: F.avg_pool2d(image(x), 2, divisor_override=3),
    "twice the other": lambda x: torch.add(x, x.abs(), alpha=2) - torch.sub(x, 1, alpha=3),
}
WEIGHTS = torch.randn(6, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def bags(x: Tensor, mode: str, **options: Any) -> Tensor:
    """Bags of three, no and the remaining rows."""
    ids = (3 * x[0, :, :2]).long().abs().clamp(max=4).reshape(-1)
    return F.embedding_bag(ids, x[1, :4].repeat(2, 1), torch.tensor([0, 3, 3]), mode=mode, **options)


LOOKUPS: dict[str, Part] = {
    "sums of bags": lambda x: bags(x, "sum", per_sample_weights=x[0, :, 2:4].reshape(-1)),
    "means of bags": lambda x: bags(x, "mean", padding_idx=1),
    "largest of bags": lambda x: bags(x, "max"),
    "windows": lambda x: x.unfold(2, 3, 2),
    "triangle": lambda x: x[
        :, torch.tril_indices(4, 4)[0], torch.triu_indices(4, 4, 1)[1, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    ],
    "downwards": lambda x: torch.arange(x.shape[1] - 1, -x.shape[1], -1) + x[0, :, :1],
    "every other, downwards": lambda x: torch.arange(x.shape[1], 0, -2),
    "repeated": lambda x: x.repeat_interleave(3, 1),
    "shifts": lambda x: ((9 * x).long() << 2) + ((9 * x).long() >> 1) + torch.bitwise_left_shift((9 * x).long(), 3),
}
STEPS: dict[str, Part] = {
    "steps": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.25, 3, -5, 8),
    "steps by channel": lambda x: torch.fake_quantize_per_channel_affine(
        x, 0.1 * torch.arange(1.0, 7), torch.zeros(6, dtype=torch.int32), 2, -7, 7
    ),
    "bytes and back": lambda x: Q.dequantize_per_tensor(
        Q.quantize_per_tensor(x, 0.1, -3, -128, 127, torch.int8), 0.1, -3, -128, 127, torch.int8
    ),
}
"""torch.export takes these for fixed sizes only."""
COMPLEX: dict[str, Part] = {
    "spectrum": lambda x: torch.view_as_real(torch.fft.rfft(x)),
    "both ways": lambda x: torch.fft.ifft2(torch.fft.fft2(x[:, :4], norm="ortho") * 1j, norm="ortho").imag,
    "filtered": lambda x: torch.fft.irfft(torch.fft.rfft(x, norm="ortho") * WEIGHTS[:1, :4], n=6, norm="ortho"),
    "odd size": lambda x: torch.fft.irfft(torch.fft.rfft(x[..., :5]), n=5),
    "turned": lambda x: torch.view_as_real(
        torch.view_as_complex(x.view(*x.shape[:2], 3, 2)) * torch.polar(torch.ones(3), torch.arange(3.0))
    ).flatten(2),
    "arithmetic": lambda x: (torch.complex(x, x.abs()) / torch.complex(x.abs() + 1, x) - 2 * torch.complex(x, x)).abs(),
    "product": lambda x: torch.view_as_real(torch.complex(x, -x)[0] @ WEIGHTS),
    "layout": lambda x: torch.cat([torch.fft.rfft(x), torch.complex(x, x)], 2).transpose(1, 2)[:, 1:].conj().abs(),
}
WRITTEN: dict[str, Part] = {
    "hypotenuse": lambda x: torch.hypot(x, 1e20 * x.flip(2)),
    "sign of the other": lambda x: torch.copysign(x, -x) + torch.copysign(x.abs(), torch.tensor(-0.0)),
    "rest of erf": lambda x: torch.erfc(2 * x) * torch.exp(4 * x * x),
    "hyperbolic": lambda x: torch.cosh(x) - torch.sinh(0.01 * x),
    "remainders": lambda x: torch.remainder(1e4 * x, 0.3) + torch.remainder(x, -x.flip(2)) % 1,
    "whole quotients": lambda x: torch.div(9 * x, -0.7, rounding_mode="floor") + (9 * x) // 2,
    "of sorted edges": lambda x: (
        torch.searchsorted(x.sort(2).values, x.flip(2)) + torch.bucketize(x, x[0, 0].sort()[0])
    ),
    "most often": lambda x: (2 * x).round().mode(2).values + (2 * x).round().mode(1, keepdim=True).values[..., :1, 0],
    "middle of numbers": lambda x: broken(x).nanmedian(2).values + broken(x).nanmedian(),
    "counts": lambda x: torch.histc(x, 5) + torch.histc(x, 5, -1, 1),
    "distances": lambda x: torch.cdist(x, x[:, 1:4], p=1) + torch.cdist(x, x[:, 1:4], p=3),
    "largest so far": lambda x: broken(x).cummax(2).values + x.cummin(2).indices + x.logcumsumexp(2),
    "written where it is true": lambda x: x.masked_scatter(x > 0, x.flip(1)),
    "mean and variance": lambda x: torch.cat(torch.var_mean(x, 2, correction=0), 1),
    "means of a ragged end": lambda x: F.avg_pool2d(image(x), 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "divided by three": lambda x: F.avg_pool2d(image(x), 2, padding=1, divisor_override=3),
    "largest of a third": lambda x: F.adaptive_max_pool2d(image(x), (3, 4), return_indices=True)[1],
}
GROUPS = {
    "sorting": SORTING,
    "writing": WRITING,
    "mixed": MIXED,
    "lookups": LOOKUPS,
    "complex": COMPLEX,
    "written": WRITTEN,
}
DYNAMIC = ({1: Dim("n", min=5, max=64)},)


def checked(parts: dict[str, Part], dynamic: Any, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    function = compiled(All(parts), (torch.zeros(2, 5, 6),), dynamic)
    for length in lengths:
        x = torch.randn(2, length, 6)
        for name, one, other in zip(parts, function(x), answers(All(parts), x), strict=True):
            assert one.dtype == other.dtype, name
            np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


@torch.no_grad()
def test_steps_are_those_of_torch() -> None:
    checked(STEPS, None, (5,))


@pytest.mark.thorough(keep=["sorting", "lookups"])
@torch.no_grad()
@pytest.mark.parametrize("group", GROUPS)
def test_results_of_any_length_are_those_of_torch(group: str) -> None:
    checked(GROUPS[group], DYNAMIC, (5, 17))
