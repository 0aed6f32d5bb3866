"""Operators that make, cut, join and turn tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.models.tensor.readers.onnx.call import Call, Known, Results, Value, each_axis, operator
from harness.models.tensor.readers.onnx.elementwise import dtype_of


def sizes(values: Any) -> Known:
    """Return sizes as a known value: numbers, or what stands for them while the model is exported."""
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in values)
    return np.array(list(values), dtype=np.int64 if whole else object)


def rank(value: Value | None) -> int:
    return 0 if value is None else value.ndim


@operator("Shape")
def shape(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    found = list(value.shape)
    return sizes(found[slice(call.attributes.get("start", 0), call.attributes.get("end"))])


@operator("Size")
def size(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    return sizes([math.prod(value.shape)]).reshape(())


@operator("Constant")
def constant(call: Call) -> Results:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in call.attributes:
            kind = np.int64 if "int" in name else np.float32
            found = call.attributes[name]
            return found if isinstance(found, np.ndarray) else np.array(found, dtype=kind)
    raise call.refuse("its value is no dense tensor of numbers")


@operator("ConstantOfShape")
def constant_of_shape(call: Call) -> Results:
    value = call.attributes.get("value", np.zeros(1, np.float32))
    wanted = call.known(0).tolist()
    if value.dtype.kind in "iub" and math.prod(wanted) <= 64:
        return np.full(wanted, value.reshape(-1)[0])
    return torch.full(wanted, value.reshape(-1)[0].item(), dtype=torch.from_numpy(value).dtype)


@operator("Range")
def value_range(call: Call) -> Results:
    start, limit, step = (call.known(at).reshape(-1)[0] for at in range(3))
    if isinstance(start, np.floating):
        return np.arange(start, limit, step, dtype=start.dtype)
    kind = call.known(0).dtype
    if all(isinstance(one, (int, np.integer)) for one in (start, limit, step)):
        return np.arange(int(start), int(limit), int(step), dtype=np.int64 if kind.hasobject else kind)
    return torch.arange(start, limit, step)


@operator("EyeLike")
def eye_like(call: Call) -> Results:
    one = call.tensor(0)
    kind = dtype_of(call, call.attributes["dtype"]) if "dtype" in call.attributes else one.dtype
    ones = torch.ones(one.shape, dtype=kind)
    offset = call.attributes.get("k", 0)
    return torch.triu(torch.tril(ones, offset), offset)


@operator("Trilu")
def trilu(call: Call) -> Results:
    offset = int(call.known(1).reshape(-1)[0]) if call.has(1) else 0
    return (torch.triu if call.attributes.get("upper", 1) else torch.tril)(call.tensor(0), offset)


@operator("Reshape")
def reshape(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    wanted = call.ints("shape", 1) or []
    if not call.attributes.get("allowzero", 0):
        wanted = [value.shape[at] if _is_number(one) and one == 0 else one for at, one in enumerate(wanted)]
    return value.reshape(wanted)


def _is_number(one: Any) -> bool:
    return isinstance(one, (int, np.integer))


@operator("Flatten")
def flatten(call: Call) -> Results:
    one = call.tensor(0)
    axis = each_axis(call.attributes.get("axis", 1), one.ndim)
    return (
        one.reshape(math.prod(one.shape[:axis]), -1)
        if one.numel()
        else one.reshape(math.prod(one.shape[:axis]), math.prod(one.shape[axis:]))
    )


@operator("Squeeze")
def squeeze(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    axes = call.ints("axes", 1)
    if axes is None:
        axes = [at for at, extent in enumerate(value.shape) if extent == 1]
    axes = [each_axis(one, value.ndim) for one in axes]
    return value.reshape([extent for at, extent in enumerate(value.shape) if at not in axes])


@operator("Unsqueeze")
def unsqueeze(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    axes = call.ints("axes", 1) or []
    whole = value.ndim + len(axes)
    rest, places = list(value.shape), {each_axis(one, whole) for one in axes}
    return value.reshape([1 if at in places else rest.pop(0) for at in range(whole)])


@operator("Transpose")
def transpose(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    order = call.ints("perm") or [*range(value.ndim)][::-1]
    return value.transpose(order) if isinstance(value, np.ndarray) else value.permute(order)


@operator("Concat")
def concat(call: Call) -> Results:
    axis = call.attributes.get("axis", 1)
    if call.all_known:
        return np.concatenate([call.known(at) for at in range(len(call.inputs))], axis)
    return torch.cat(call.tensors(), axis)


@operator("Split")
def split(call: Call) -> Results:
    one = call.tensor(0)
    axis = call.attributes.get("axis", 0)
    given = call.ints("split", 1)
    if given is None:
        parts = call.attributes.get("num_outputs", call.outputs)
        given = [-(-one.shape[axis] // parts)] * (parts - 1)
        given.append(one.shape[axis] - sum(given))
    return tuple(torch.split(one, [int(extent) for extent in given], axis))


@operator("Slice")
def slices(call: Call) -> Results:
    value = call.inputs[0]
    assert value is not None
    starts, ends = call.ints("starts", 1) or [], call.ints("ends", 2) or []
    axes = call.ints("axes", 3) or [*range(len(starts))]
    steps = call.ints("steps", 4) or [1] * len(starts)
    if isinstance(value, np.ndarray):
        cut: list[Any] = [slice(None)] * value.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            stop = None if step < 0 and end < -value.shape[axis] else end
            cut[axis] = slice(start, stop, step)
        part: Known = value[tuple(cut)]
        return part
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        value = _sliced(value, start, end, each_axis(axis, value.ndim), step)
    return value


def _sliced(one: Tensor, start: Any, end: Any, axis: int, step: int) -> Tensor:
    """Cut as numpy does; backwards by turning the axis round first."""
    if step > 0:
        return one[(slice(None),) * axis + (slice(start, end, step),)]
    first, last, step = slice(start, end, step).indices(one.shape[axis])
    chosen = torch.tensor(list(range(first, last, step)), dtype=torch.int64)
    return one.index_select(axis, chosen)


@operator("Expand")
def expand(call: Call) -> Results:
    wanted = call.ints("shape", 1) or []
    value = call.inputs[0]
    assert value is not None
    extents, own = [1] * (value.ndim - len(wanted)) + wanted, [1] * (len(wanted) - value.ndim) + list(value.shape)
    target = [given if _is_number(mine) and mine == 1 else mine for given, mine in zip(extents, own, strict=True)]
    return np.broadcast_to(value, target) if isinstance(value, np.ndarray) else value.expand(target)


@operator("Tile")
def tile(call: Call) -> Results:
    if call.version < 6:
        raise call.refuse("its form of before version 6 is not read")
    return call.tensor(0).repeat(call.ints("repeats", 1) or [])


@operator("DepthToSpace", "SpaceToDepth")
def depth_to_space(call: Call) -> Results:
    one, block = call.tensor(0), call.attributes["blocksize"]
    batch, channels, height, width = one.shape
    if call.operator == "SpaceToDepth":
        parts = one.reshape(batch, channels, height // block, block, width // block, block)
        order = (0, 1, 3, 5, 2, 4) if call.text("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
        return parts.permute(order).reshape(batch, -1, height // block, width // block)
    if call.text("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(one, block)
    parts = one.reshape(batch, block, block, channels // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


@operator("Pad")
def pad(call: Call) -> Results:
    one = call.tensor(0)
    given = call.ints("pads", 1) or []
    axes = [each_axis(at, one.ndim) for at in call.ints("axes", 3) or range(one.ndim)]
    mode = call.text("mode", "constant")
    before, after = dict.fromkeys(range(one.ndim), 0), dict.fromkeys(range(one.ndim), 0)
    for place, axis in enumerate(axes):
        before[axis], after[axis] = given[place], given[place + len(axes)]
    if mode == "constant":
        amounts = [amount for axis in reversed(range(one.ndim)) for amount in (before[axis], after[axis])]
        value = call.number("value", 0.0, 2)
        padded = functional.pad(one.to(torch.uint8) if one.dtype == torch.bool else one, amounts, "constant", value)
        return padded.to(one.dtype)
    for axis in range(one.ndim):
        if before[axis] or after[axis]:
            one = _repeated(call, one, axis, before[axis], after[axis], mode)
    return one


def _repeated(call: Call, one: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Pad one axis with its own values."""
    extent = one.shape[axis]
    places = np.arange(-before, extent + after)
    if mode == "edge":
        chosen = np.clip(places, 0, extent - 1)
    elif mode == "wrap":
        chosen = places % extent
    elif mode == "reflect":
        period = max(1, 2 * (extent - 1))
        chosen = np.abs((places + extent - 1) % period - (extent - 1))
    else:
        raise call.refuse(f"its mode {mode} is not read")
    return one.index_select(axis, torch.from_numpy(chosen.astype(np.int64)))


@operator("Resize", "Upsample")
def resize(call: Call) -> Results:
    """Enlarge or shrink pictures, in the forms that PyTorch has: nearest, linear and cubic, by corners or halves."""
    one = call.tensor(0)
    scales_at, sizes_at = (1, None) if call.operator == "Upsample" or call.version < 11 else (2, 3)
    wanted = call.ints("sizes", sizes_at) if sizes_at else None
    scales = None if wanted else call.ints("scales", scales_at)
    axes = [each_axis(at, one.ndim) for at in call.ints("axes") or range(one.ndim)]
    if wanted is None and scales is None:
        raise call.refuse("it has neither sizes nor scales")
    if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise call.refuse("it keeps the aspect ratio by itself")
    target, factors = list(one.shape), [1.0] * one.ndim
    for place, axis in enumerate(axes):
        target[axis] = int(wanted[place]) if wanted else math.floor(one.shape[axis] * (scales or [])[place])
        factors[axis] = target[axis] / one.shape[axis] if wanted else (scales or [])[place]
    if target[:2] != list(one.shape[:2]):
        raise call.refuse("it changes the number of pictures or channels")
    mode = call.text("mode", "nearest")
    way = call.text("coordinate_transformation_mode", "asymmetric" if call.version < 11 else "half_pixel")
    if target == list(one.shape):
        return one
    if mode == "nearest":
        return _nearest(call, one, target, factors, way)
    if way not in ("half_pixel", "pytorch_half_pixel", "align_corners") or call.attributes.get("exclude_outside"):
        raise call.refuse(f"{mode} by {way} is not read")
    name = {("linear", 3): "linear", ("linear", 4): "bilinear", ("linear", 5): "trilinear", ("cubic", 4): "bicubic"}
    if (mode, one.ndim) not in name or (mode == "cubic" and call.attributes.get("cubic_coeff_a", -0.75) != -0.75):
        raise call.refuse(f"{mode} of {one.ndim} dimensions is not read")
    if call.attributes.get("antialias", 0):
        raise call.refuse("its antialiasing is not PyTorch's")
    corners = way == "align_corners"
    uneven = any(factor * extent % 1 for factor, extent in zip(factors, one.shape, strict=True))
    if (corners and uneven) or (way == "pytorch_half_pixel" and 1 in target[2:]):
        raise call.refuse(f"{mode} by {way} to this size is not PyTorch's")
    given = None if wanted or corners else factors[2:]
    form: dict[str, Any] = {"scale_factor": given} if given else {"size": target[2:]}
    return functional.interpolate(one, mode=name[mode, one.ndim], align_corners=corners, **form)


def _nearest(call: Call, one: Tensor, target: list[int], factors: list[float], way: str) -> Tensor:
    """Choose the nearest place of each axis by its own rule of rounding."""
    rounding = call.text("nearest_mode", "floor" if call.version < 11 else "round_prefer_floor")
    rules: dict[str, Any] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda at: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda at: np.floor(at + 0.5),
    }
    for axis in range(2, one.ndim):
        if target[axis] == one.shape[axis] and factors[axis] == 1.0:
            continue
        places = np.arange(target[axis], dtype=np.float64)
        if way == "asymmetric":
            found = places / factors[axis]
        elif way == "half_pixel":
            found = (places + 0.5) / factors[axis] - 0.5
        elif way == "pytorch_half_pixel":
            found = (places + 0.5) / factors[axis] - 0.5 if target[axis] > 1 else places * 0
        elif way == "align_corners":
            found = places * (one.shape[axis] - 1) / max(1, target[axis] - 1)
        else:
            raise call.refuse(f"nearest by {way} is not read")
        chosen = np.clip(rules[rounding](found), 0, one.shape[axis] - 1).astype(np.int64)
        one = one.index_select(axis, torch.from_numpy(chosen))
    return one
