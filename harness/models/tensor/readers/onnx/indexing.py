"""Operators that look up, sort and reduce."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.models.tensor.readers.onnx.call import Call, Results, each_axis, operator


def _counted(indices: Tensor, extent: Any) -> Tensor:
    """Return indices counted from the beginning; those of ONNX may be counted from the end."""
    return torch.where(indices < 0, indices + extent, indices).to(torch.int64)


def _places(call: Call, at: int, extent: Any) -> Tensor:
    """Return an input of indices. Constants are looked at here, so that the model need not."""
    constant = call.constants[at] if at < len(call.constants) else None
    value = call.inputs[at] if constant is None else constant
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return torch.from_numpy(np.where(value < 0, value + extent, value).astype(np.int64))
    return _counted(call.tensor(at), extent)


@operator("Gather")
def gather(call: Call) -> Results:
    axis = call.attributes.get("axis", 0)
    value = call.inputs[0]
    if isinstance(value, np.ndarray) and isinstance(call.inputs[1], np.ndarray):
        return np.asarray(np.take(value, call.known(1).astype(np.int64), axis))
    one = call.tensor(0)
    axis = each_axis(axis, one.ndim)
    indices = _places(call, 1, one.shape[axis])
    if indices.ndim == 0:
        return one.index_select(axis, indices.reshape(1)).squeeze(axis)
    if axis == 0 and one.ndim == 2:
        return torch.nn.functional.embedding(indices, one)
    flat = one.index_select(axis, indices.reshape(-1))
    return flat.reshape(*one.shape[:axis], *indices.shape, *one.shape[axis + 1 :])


@operator("GatherElements")
def gather_elements(call: Call) -> Results:
    one = call.tensor(0)
    axis = each_axis(call.attributes.get("axis", 0), one.ndim)
    indices = _places(call, 1, one.shape[axis])
    cut = one[tuple(slice(None) if at == axis else slice(0, extent) for at, extent in enumerate(indices.shape))]
    return torch.gather(cut, axis, indices)


@operator("GatherND")
def gather_nd(call: Call) -> Results:
    one, indices, batches = call.tensor(0), call.tensor(1), call.attributes.get("batch_dims", 0)
    depth = indices.shape[-1]
    lead = one.shape[:batches]
    rest = one.shape[batches + depth :]
    flat = one.reshape(-1, *one.shape[batches:])
    chosen = indices.reshape(flat.shape[0], -1, depth)
    rows = torch.arange(flat.shape[0]).reshape(-1, 1).expand(chosen.shape[:2])
    places = [_counted(chosen[..., at], one.shape[batches + at]) for at in range(depth)]
    found: Tensor = torch.ops.aten.index.Tensor(flat, [rows, *places])
    return found.reshape(*lead, *indices.shape[batches:-1], *rest)


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Results:
    one, updates = call.tensor(0), call.tensor(2)
    axis = each_axis(call.attributes.get("axis", 0), one.ndim)
    indices = _places(call, 1, one.shape[axis])
    how = call.text("reduction", "none")
    if how == "none":
        return torch.scatter(one, axis, indices, updates)
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return torch.scatter_reduce(one, axis, indices, updates, names[how], include_self=True)


@operator("ScatterND")
def scatter_nd(call: Call) -> Results:
    one, indices, updates = call.tensor(0), call.tensor(1), call.tensor(2)
    how = call.text("reduction", "none")
    depth = indices.shape[-1]
    places = tuple(_counted(indices[..., at], one.shape[at]) for at in range(depth))
    if how == "none":
        return torch.index_put(one, places, updates)
    if how == "add":
        return torch.index_put(one, places, updates, accumulate=True)
    raise call.refuse(f"reducing by {how} is not read")


@operator("OneHot")
def one_hot(call: Call) -> Results:
    depth = int(call.known(1).reshape(-1)[0])
    indices, values = call.tensor(0), call.tensor(2)
    axis = call.attributes.get("axis", -1)
    wanted = torch.arange(depth)
    chosen = (_counted(indices, depth).unsqueeze(-1) == wanted).to(values.dtype)
    found = chosen * (values[1] - values[0]) + values[0]
    return found if axis == -1 else found.movedim(-1, each_axis(axis, found.ndim))


@operator("TopK")
def top_k(call: Call) -> Results:
    count = call.ints("k", 1)
    assert count is not None
    largest = bool(call.attributes.get("largest", 1))
    one = call.tensor(0)
    axis = each_axis(call.attributes.get("axis", -1), one.ndim)
    # Of equal elements the first comes first, which torch.topk leaves open.
    values, indices = torch.sort(one, dim=axis, descending=largest, stable=True)
    cut = (slice(None),) * axis + (slice(0, int(count[0])),)
    return values[cut], indices[cut]


@operator("ArgMax", "ArgMin")
def arg_max(call: Call) -> Results:
    one, axis = call.tensor(0), call.attributes.get("axis", 0)
    keep = bool(call.attributes.get("keepdims", 1))
    function = torch.argmax if call.operator == "ArgMax" else torch.argmin
    if not call.attributes.get("select_last_index", 0):
        return function(one, axis, keep)
    found = function(one.flip(axis), axis, keep)
    last: Tensor = one.shape[axis] - 1 - found
    return last


@operator("CumSum")
def cum_sum(call: Call) -> Results:
    one, axis = call.tensor(0), int(call.known(1).reshape(-1)[0])
    if call.attributes.get("reverse", 0):
        one = one.flip(axis)
    found = torch.cumsum(one, axis).to(one.dtype)
    if call.attributes.get("exclusive", 0):
        found = found - one
    return found.flip(axis) if call.attributes.get("reverse", 0) else found


@operator("NonZero")
def non_zero(call: Call) -> Results:
    return torch.nonzero(call.tensor(0)).T


@operator("ReverseSequence")
def reverse_sequence(call: Call) -> Results:
    one, lengths = call.tensor(0), call.tensor(1)
    time, batch = call.attributes.get("time_axis", 0), call.attributes.get("batch_axis", 1)
    moved = one.movedim((batch, time), (0, 1))
    steps = torch.arange(moved.shape[1]).unsqueeze(0)
    ends = lengths.unsqueeze(1)
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    form = places.reshape(*places.shape, *[1] * (moved.ndim - 2)).expand(moved.shape)
    return torch.gather(moved, 1, form).movedim((0, 1), (batch, time))


def _reduced(call: Call, one: Tensor, axes: list[int], keep: bool) -> Tensor:
    kind = call.operator
    if kind in ("ReduceMax", "ReduceMin"):
        whole = one.to(torch.uint8) if one.dtype == torch.bool else one
        return (torch.amax if kind == "ReduceMax" else torch.amin)(whole, axes, keep).to(one.dtype)
    if kind == "ReduceMean":
        return torch.mean(one, axes, keep)
    if kind == "ReduceProd":
        for axis in sorted((each_axis(at, one.ndim) for at in axes), reverse=True):
            one = torch.prod(one, axis, True)
        return one if keep else one.squeeze(axes)
    if kind == "ReduceLogSumExp":
        return torch.logsumexp(one, axes, keep)
    before = {"ReduceL1": torch.abs, "ReduceL2": torch.square, "ReduceSumSquare": torch.square}.get(kind)
    total = torch.sum(before(one) if before else one, axes, keep, dtype=one.dtype)
    after = {"ReduceL2": torch.sqrt, "ReduceLogSum": torch.log}.get(kind)
    return after(total) if after else total


@operator(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
def reduced(call: Call) -> Results:
    axes, keep = call.ints("axes", 1), bool(call.attributes.get("keepdims", 1))
    value = call.inputs[0]
    if isinstance(value, np.ndarray) and call.operator in ("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"):
        function = {"ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min}
        chosen: Any = function[call.operator]
        return np.asarray(chosen(value, axis=tuple(axes) if axes else None, keepdims=keep), dtype=value.dtype)
    one = call.tensor(0)
    if not axes:
        if call.attributes.get("noop_with_empty_axes", 0):
            # Nothing is reduced, and each element is what a reduction of one is.
            return _reduced(call, one.unsqueeze(-1), [-1], False)
        axes = [*range(one.ndim)]
    return _reduced(call, one, axes, keep) if one.ndim else _reduced(call, one.unsqueeze(0), [0], False)
