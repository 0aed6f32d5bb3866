"""What the tests of convolutions of bytes share: our kernel beside sums of whole numbers that PyTorch makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.compiler.kernels.byte_convolution import byte_kernel, byte_kind, pack_steps, rounded_filters
from harness.compiler.kernels.bytes import grid_numbers
from harness.compiler.kernels.depthwise import depthwise_kernel, pack_by_channel
from harness.compiler.kernels.epilogue import Epilogue, Operand, Step
from harness.compiler.kernels.grid import Grid
from harness.compiler.kernels.panels import Convolution, Stored
from harness.compiler.targets.profiles import Profile
from tests.compiler.kernels import build, normal, tensor

SHAPES = {
    "points": Convolution(2, (5, 7), 20, 40, (1, 1)),
    "points apart": Convolution(1, (9, 8), 8, 37, (1, 1), (2, 3)),
    "borders": Convolution(1, (9, 23), 12, 16, (3, 3), padding=(1, 1, 1, 1)),
    "unequal borders": Convolution(1, (6, 31), 4, 21, (3, 5), padding=(0, 2, 2, 1)),
    "nothing but borders": Convolution(1, (1, 2), 4, 8, (5, 5), padding=(2, 2, 2, 2)),
    "far apart": Convolution(2, (13, 17), 8, 33, (3, 3), (2, 2), (1, 1, 1, 1), (2, 3)),
    "a row": Convolution(1, (1, 50), 8, 12, (1, 10), (1, 5), (0, 3, 0, 2), of_rows=True),
    "groups": Convolution(1, (7, 9), 48, 96, (3, 3), padding=(1, 1, 1, 1), groups=3),
    "small groups": Convolution(1, (5, 8), 24, 24, (3, 3), padding=(1, 1, 1, 1), groups=6),
    "by channel": Convolution(2, (6, 37), 27, 27, (3, 3), padding=(1, 1, 1, 1), groups=27),
    "by channel, apart": Convolution(1, (11, 14), 19, 19, (5, 5), (2, 2), (2, 1, 2, 3), (1, 2), groups=19),
    "many filters": Convolution(1, (4, 30), 32, 150, (1, 1)),
}
"""Convolutions whose extents are mostly no multiple of anything but the four channels of a word."""

RESIDUAL = Epilogue(
    (Step("add", (Operand("value"), Operand("tensor"))), Step("relu", (Operand("value", 1),))), tensors=1
)
IMAGE, RESULT, TENSOR = Grid(0.02, 3, 0, 255), Grid(0.11, 37, 2, 250), Grid(0.05, 130)


def check(profile: Profile, conv: Convolution, *, zero: int = 3, result: bool = True, parts: bool = False) -> None:
    """``parts`` are filters whose sums of two products would saturate."""
    kind = byte_kind(profile)
    assert kind is not None
    image = replace(IMAGE, zero=zero)
    stored = Stored(kind, image=True, tensors=(0,), result=result, from_zero=image.moved(kind) == 0)
    conv = replace(conv, epilogue=RESIDUAL, stored=stored)
    x, beside = (_bytes(shape, kind, seed) for seed, shape in enumerate((conv.image_shape, conv.result_shape)))
    weight = normal(*conv.kernel, conv.channels // conv.groups, conv.filters, seed=2)
    shift = normal(conv.filters, seed=3)
    filters: npt.NDArray[Any] = weight
    scale = np.ones(conv.filters, np.float32)
    if conv.by_channel:
        kernel, arrays = depthwise_kernel(profile, conv), [pack_by_channel(conv, weight)]
    else:
        steps, scale = rounded_filters(weight, profile)
        filters = steps = np.where(steps < 0, -127, 127).astype(np.int8) if parts else steps
        kernel, arrays = byte_kernel(profile, conv, steps), pack_steps(conv, steps, image.moved(kind), profile)
    scale = (scale * image.scale).astype(np.float32)
    numbers = grid_numbers(kind, image, RESULT if result else None, (TENSOR,))
    y = tensor(np.full(conv.result_shape, 77, kind if result else np.float32))
    build(kernel)(*map(tensor, (x, beside, *arrays, shift, scale, numbers)), y)

    sums = _sums(conv, x.astype(np.int64) - image.moved(kind), filters) * scale.astype(np.float64) + shift
    added = (beside.astype(np.float64) - TENSOR.moved(kind)) * np.float32(TENSOR.scale) + sums
    exact = np.maximum(added, 0)
    if not result:
        np.testing.assert_allclose(y.numpy(), exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
        return
    low, high = RESULT.low - RESULT.zero, RESULT.high - RESULT.zero
    expected = np.clip(exact / np.float32(RESULT.scale), low, high)
    # What lies within a rounding error of the middle between two steps may become either.
    found = y.numpy().astype(np.float64) - RESULT.moved(kind)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 + 1e-3)


def _bytes(shape: tuple[int, ...], kind: str, seed: int) -> npt.NDArray[Any]:
    found = np.random.default_rng(seed).integers(0, 256, shape)
    return (found - (128 if kind == "int8" else 0)).astype(kind)


def _sums(conv: Convolution, x: npt.NDArray[Any], weight: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    top, left, bottom, right = conv.padding
    image = torch.from_numpy(x.reshape(conv.batch, *conv.size, -1).transpose(0, 3, 1, 2)).double()
    padded = torch.nn.functional.pad(image, (left, right, top, bottom))
    filters = torch.from_numpy(weight.transpose(3, 2, 0, 1)).double()
    y = torch.conv2d(padded, filters, None, conv.strides, 0, conv.dilation, conv.groups)
    result: npt.NDArray[np.float64] = y.permute(0, 2, 3, 1).numpy().reshape(conv.result_shape)
    return result
