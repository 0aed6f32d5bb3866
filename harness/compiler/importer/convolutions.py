"""Write transposed convolutions of three dimensions, which TVM 0.27 lacks, as plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """Convolve a volume with zeros between its elements with the mirrored weights."""
    if not transposed or x.ndim != 5:
        return NotImplemented
    for axis, step in enumerate(stride, 2):
        x = _spread(x, axis, step)
    size = weight.shape[2:]
    ahead = [step * (extent - 1) - pad for step, extent, pad in zip(dilation, size, padding, strict=True)]
    behind = [one + more for one, more in zip(ahead, output_padding, strict=True)]
    around = [side for pair in zip(reversed(ahead), reversed(behind), strict=True) for side in pair]
    x = torch.constant_pad_nd(x, around)
    # Of each group [in, out] the plain convolution takes [out, in].
    parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2).flip(3, 4, 5)
    plain = parts.reshape(groups * weight.shape[1], weight.shape[0] // groups, *size)
    return torch.nn.functional.conv3d(x, plain, bias, 1, 0, list(dilation), groups)


def _spread(x: Tensor, axis: int, step: int) -> Tensor:
    """Put ``step`` - 1 zeros between neighbours."""
    if step == 1:
        return x
    apart = torch.constant_pad_nd(x.unsqueeze(axis + 1), [0, 0] * (x.ndim - axis - 1) + [0, step - 1])
    return apart.flatten(axis, axis + 1).narrow(axis, 0, (x.shape[axis] - 1) * step + 1)
