"""What the tests of convolutions share: our kernel beside PyTorch's, on random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from harness.compiler.kernels.convolution import convolution_kernel
from harness.compiler.kernels.depthwise import depthwise_kernel, pack_by_channel
from harness.compiler.kernels.kernel import Kernel
from harness.compiler.kernels.panels import Convolution, pack_filters
from harness.compiler.targets.profiles import Profile
from tests.compiler.kernels import Float32, build, empty, normal, tensor

TOLERANCE = 2e-6
"""Of the largest result."""


def torch_answer(conv: Convolution, x: Float32, weight: Float32, shift: Float32) -> Float32:
    """PyTorch's result in double precision, channels last."""
    top, left, bottom, right = conv.padding
    given = x.reshape(conv.batch, *conv.size, -1) if not conv.planar else x
    image = torch.from_numpy(given if conv.planar else given.transpose(0, 3, 1, 2)).double()
    if conv.copies > 1:
        each = weight.reshape(conv.channels, *conv.spread, conv.filters).transpose(0, 3, 1, 2)
        y = torch.conv_transpose2d(
            image, torch.from_numpy(each).double(), torch.from_numpy(shift).double(), conv.spread
        )
        spread: Float32 = y.permute(0, 2, 3, 1).numpy().astype(np.float32)
        return spread
    padded = torch.nn.functional.pad(image, (left, right, top, bottom))
    filters = torch.from_numpy(weight.transpose(3, 2, 0, 1)).double()
    y = torch.conv2d(padded, filters, torch.from_numpy(shift).double(), conv.strides, 0, conv.dilation, conv.groups)
    result: Float32 = y.permute(0, 2, 3, 1).numpy().astype(np.float32).reshape(conv.result_shape)
    return result


def check(profile: Profile, conv: Convolution, tolerance: float = TOLERANCE) -> None:
    if conv.by_channel:
        check_kernel(depthwise_kernel(profile, conv), lambda weight: pack_by_channel(conv, weight), conv, tolerance)
    else:
        check_kernel(
            convolution_kernel(profile, conv), lambda weight: pack_filters(conv, weight, profile), conv, tolerance
        )


def check_kernel(kernel: Kernel, pack: Callable[[Float32], Float32], conv: Convolution, tolerance: float) -> None:
    x = normal(*conv.image_shape)
    weight = normal(*conv.kernel, conv.channels // conv.groups, conv.filters * conv.copies, seed=1)
    shift, y = normal(conv.filters, seed=2), empty(*conv.result_shape)
    build(kernel)(tensor(x), tensor(pack(weight)), tensor(shift), y)
    expected = torch_answer(conv, x, weight, shift)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(y.numpy(), expected, atol=tolerance * scale, rtol=0)
