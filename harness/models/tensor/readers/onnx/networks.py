"""Products, convolutions, pools and norms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.models.tensor.readers.onnx.call import Call, Results, each_axis, operator

CONVOLUTIONS: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
AVERAGES: dict[int, Any] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
MAXIMA: dict[int, Any] = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@operator("MatMul")
def matmul(call: Call) -> Results:
    return torch.matmul(call.tensor(0), call.tensor(1))


@operator("Gemm")
def gemm(call: Call) -> Results:
    left, right, added = call.tensor(0), call.tensor(1), call.optional(2)
    alpha, beta = call.attributes.get("alpha", 1.0), call.attributes.get("beta", 1.0)
    left = left.T if call.attributes.get("transA", 0) else left
    if alpha == 1.0 and beta == 1.0 and added is not None and added.ndim == 1 and call.attributes.get("transB", 0):
        return functional.linear(left, right, added)
    found = torch.matmul(left, right.T if call.attributes.get("transB", 0) else right)
    found = found if alpha == 1.0 else found * alpha
    return found if added is None else found + (added if beta == 1.0 else added * beta)


@operator("Einsum")
def einsum(call: Call) -> Results:
    return torch.einsum(call.text("equation"), *call.tensors())


def _frame(call: Call, extents: Any, kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """Return the padding before and after each axis, as ``pads`` or ``auto_pad`` have it."""
    way, rank = call.text("auto_pad", "NOTSET"), len(kernel)
    if way in ("NOTSET", ""):
        return call.ints("pads") or [0] * (2 * rank)
    if way == "VALID":
        return [0] * (2 * rank)
    whole = []
    for extent, width, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
        needed = max(0, (math.ceil(extent / stride) - 1) * stride + (width - 1) * dilation + 1 - extent)
        whole.append(
            (needed // 2, needed - needed // 2) if way == "SAME_UPPER" else (needed - needed // 2, needed // 2)
        )
    return [one for one, _ in whole] + [other for _, other in whole]


def _amounts(frame: list[int]) -> list[int]:
    """Return a frame in the order of ``functional.pad``: the last axis first."""
    rank = len(frame) // 2
    return list(itertools.chain.from_iterable((frame[at], frame[at + rank]) for at in reversed(range(rank))))


@operator("Conv")
def conv(call: Call) -> Results:
    one, weight, bias = call.tensor(0), call.tensor(1), call.optional(2)
    rank = weight.ndim - 2
    kernel = list(weight.shape[2:])
    strides, dilations = call.ints("strides") or [1] * rank, call.ints("dilations") or [1] * rank
    frame = _frame(call, one.shape[2:], kernel, strides, dilations)
    even = frame[:rank] == frame[rank:]
    one = one if even else functional.pad(one, _amounts(frame))
    padding = frame[:rank] if even else [0] * rank
    if rank not in CONVOLUTIONS:
        raise call.refuse(f"a convolution over {rank} axes has no counterpart in PyTorch")
    found: Tensor = CONVOLUTIONS[rank](one, weight, bias, strides, padding, dilations, call.attributes.get("group", 1))
    return found


@operator("ConvTranspose")
def conv_transpose(call: Call) -> Results:
    one, weight, bias = call.tensor(0), call.tensor(1), call.optional(2)
    rank = weight.ndim - 2
    kernel = list(weight.shape[2:])
    strides, dilations = call.ints("strides") or [1] * rank, call.ints("dilations") or [1] * rank
    more = call.ints("output_padding") or [0] * rank
    spread = [
        stride * (extent - 1) + extra + (width - 1) * dilation + 1
        for stride, extent, extra, width, dilation in zip(strides, one.shape[2:], more, kernel, dilations, strict=True)
    ]
    wanted = call.ints("output_shape")
    way = call.text("auto_pad", "NOTSET")
    if wanted is None and way in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [extent * stride for extent, stride in zip(one.shape[2:], strides, strict=True)]
    if wanted is not None:
        # What stands over is cut, the larger half at the end or at the beginning.
        over = [extent - wish for extent, wish in zip(spread, wanted[-rank:], strict=True)]
        first = [amount // 2 if way == "SAME_UPPER" else amount - amount // 2 for amount in over]
        frame = first + [amount - before for amount, before in zip(over, first, strict=True)]
    else:
        frame = call.ints("pads") or [0] * (2 * rank)
    even = frame[:rank] == frame[rank:] and min(frame, default=0) >= 0
    found: Tensor = TRANSPOSED[rank](
        *(one, weight, bias, strides, frame[:rank] if even else [0] * rank, more),
        *(call.attributes.get("group", 1), dilations),
    )
    return found if even else functional.pad(found, [-amount for amount in _amounts(frame)])


@operator("MaxPool", "AveragePool", "LpPool")
def pool(call: Call) -> Results:
    one, kernel = call.tensor(0), call.ints("kernel_shape") or []
    rank = len(kernel)
    strides, dilations = call.ints("strides") or [1] * rank, call.ints("dilations") or [1] * rank
    frame = _frame(call, one.shape[2:], kernel, strides, dilations)
    largest = call.operator == "MaxPool"
    if call.outputs > 1:
        raise call.refuse("the places of its maxima are not read")
    if not largest and any(dilation != 1 for dilation in dilations):
        raise call.refuse("its dilation is not read")
    if not largest and call.attributes.get("ceil_mode", 0) and any(frame):
        raise call.refuse("rounding its size up together with padding is not supported")
    if call.attributes.get("ceil_mode", 0):
        frame = _rounded_up(one, kernel, strides, dilations, frame)
    if call.operator == "LpPool":
        power = call.attributes.get("p", 2)
        padded = functional.pad(one.abs().pow(power), _amounts(frame))
        found: Tensor = AVERAGES[rank](padded, kernel, strides) * math.prod(kernel)
        return found.pow(1 / power)
    if largest:
        if any(frame):
            lowest = float("-inf") if one.is_floating_point() else torch.iinfo(one.dtype).min
            even = frame[:rank] == frame[rank:] and all(2 * a <= k for a, k in zip(frame, kernel, strict=False))
            if even and one.is_floating_point():
                pooled: Tensor = MAXIMA[rank](one, kernel, strides, frame[:rank], dilations)
                return pooled
            one = functional.pad(one, _amounts(frame), value=lowest)
        whole: Tensor = MAXIMA[rank](one, kernel, strides, 0, dilations)
        return whole
    counted = bool(call.attributes.get("count_include_pad", 0))
    even = frame[:rank] == frame[rank:] and all(2 * a <= k for a, k in zip(frame, kernel, strict=False))
    if even:
        mean: Tensor = AVERAGES[rank](one, kernel, strides, frame[:rank], False, counted)
        return mean
    total: Tensor = AVERAGES[rank](functional.pad(one, _amounts(frame)), kernel, strides)
    if counted and not call.attributes.get("ceil_mode", 0):
        return total
    share: Tensor = AVERAGES[rank](functional.pad(torch.ones_like(one[:1, :1]), _amounts(frame)), kernel, strides)
    return total / share


def _rounded_up(
    one: Tensor, kernel: list[int], strides: list[int], dilations: list[int], frame: list[int]
) -> list[int]:
    """Return the frame with what the last window needs at the end; windows that begin in the padding do not count."""
    rank, grown = len(kernel), list(frame)
    for at in range(rank):
        whole = one.shape[2 + at] + frame[at] + frame[at + rank]
        span = (kernel[at] - 1) * dilations[at] + 1
        count = math.ceil((whole - span) / strides[at]) + 1
        if (count - 1) * strides[at] >= one.shape[2 + at] + frame[at]:
            count -= 1
        grown[at + rank] += max(0, (count - 1) * strides[at] + span - whole)
    return grown


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call) -> Results:
    one = call.tensor(0)
    axes = list(range(2, one.ndim))
    return one.mean(axes, keepdim=True) if call.operator == "GlobalAveragePool" else one.amax(axes, keepdim=True)


@operator("BatchNormalization")
def batch_normalization(call: Call) -> Results:
    if call.attributes.get("training_mode", 0) or call.outputs > 1:
        raise call.refuse("it is in training mode")
    one, scale, bias, mean, variance = (call.tensor(at) for at in range(5))
    return functional.batch_norm(one, mean, variance, scale, bias, False, 0.0, call.attributes.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_normalization(call: Call) -> Results:
    one, scale, bias = (call.tensor(at) for at in range(3))
    return functional.instance_norm(one, None, None, scale, bias, True, 0.0, call.attributes.get("epsilon", 1e-5))


@operator("LayerNormalization", "RMSNormalization")
def layer_normalization(call: Call) -> Results:
    one, scale, bias = call.tensor(0), call.tensor(1), call.optional(2)
    axis, epsilon = each_axis(call.attributes.get("axis", -1), one.ndim), call.attributes.get("epsilon", 1e-5)
    form = list(one.shape[axis:])
    if call.operator == "RMSNormalization":
        return functional.rms_norm(one, form, None, epsilon) * scale
    if call.outputs == 1 and list(scale.shape) == form and (bias is None or list(bias.shape) == form):
        return functional.layer_norm(one, form, scale, bias, epsilon)
    axes = list(range(axis, one.ndim))
    mean = one.mean(axes, keepdim=True)
    share = torch.rsqrt((one - mean).square().mean(axes, keepdim=True) + epsilon)
    found = (one - mean) * share * scale
    return (found if bias is None else found + bias, mean, share)[: call.outputs]


@operator("GroupNormalization")
def group_normalization(call: Call) -> Results:
    one, scale, bias = (call.tensor(at) for at in range(3))
    groups, epsilon = call.attributes["num_groups"], call.attributes.get("epsilon", 1e-5)
    if scale.shape[0] != one.shape[1]:  # one for each group, as before version 21
        repeats = one.shape[1] // groups
        scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
    return functional.group_norm(one, groups, scale, bias, epsilon)


@operator("LpNormalization")
def lp_normalization(call: Call) -> Results:
    one, axis, power = call.tensor(0), call.attributes.get("axis", -1), call.attributes.get("p", 2)
    size = one.abs().sum(axis, keepdim=True) if power == 1 else one.square().sum(axis, keepdim=True).sqrt()
    return torch.where(size == 0, torch.zeros_like(one), one / size)


@operator("LRN")
def local_response(call: Call) -> Results:
    """Divide by the squares of the neighbouring channels; an even number of them has more after than before."""
    one, count = call.tensor(0), call.attributes["size"]
    alpha, beta, bias = (call.attributes.get(k, d) for k, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    squares = one.square().unsqueeze(1)
    flat = squares.reshape(one.shape[0], 1, one.shape[1], -1)
    padded = functional.pad(flat, [0, 0, (count - 1) // 2, count - 1 - (count - 1) // 2])
    total = functional.avg_pool2d(padded, [count, 1], 1) * count
    found: Tensor = one / (total.reshape(one.shape) * (alpha / count) + bias).pow(beta)
    return found


@operator("MeanVarianceNormalization")
def mean_variance(call: Call) -> Results:
    one, axes = call.tensor(0), call.ints("axes") or [0, 2, 3]
    mean = one.mean(axes, keepdim=True)
    deviation = ((one * one).mean(axes, keepdim=True) - mean * mean).sqrt()
    return (one - mean) / (deviation + 1e-9)


@operator("GridSample")
def grid_sample(call: Call) -> Results:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(call.text("mode", "linear"), call.text("mode", "linear"))
    corners = bool(call.attributes.get("align_corners", 0))
    return functional.grid_sample(call.tensor(0), call.tensor(1), mode, call.text("padding_mode", "zeros"), corners)
