"""Define importer entries for reading parts of tensors.

TVM 0.27's importer passes on places that count from the end, which are then before the tensor's beginning. It clamps
slices of dynamic extents and so loses their shape.
"""

from __future__ import annotations

import sys
from typing import Any

from torch import SymInt, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.operators.operator import OpTable


def select(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
    """Take one place along an axis, which is dropped."""
    data, axis, place = importer.retrieve_args(node)[:3]
    emit, shape = importer.block_builder.emit, data.ty.shape.values
    extent = shape[axis]
    if not isinstance(place, int):
        place = number(importer.block_builder, place)
    elif place >= 0:
        place = relax.const(place, "int64")
    elif isinstance(_meta(node.args[0], axis % len(shape)), int):
        place = relax.const(int(extent) + place, "int64")
    else:
        place = emit(relax.op.add(number(importer.block_builder, extent), relax.const(place, "int64")))
    return emit(relax.op.take(data, place, axis=axis))


def index(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
    """Take ``data[i, :, j]``, whose indices are tensors."""
    data, indices = importer.retrieve_args(node)[:2]
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if any(index.ty.dtype == "bool" for _, index in given):
        return importer._index_tensor(node)
    builder, extents = importer.block_builder, list(data.ty.shape.values)
    if len(given) == 1:
        [(axis, index)] = given
        return builder.emit(relax.op.take(data, _forward(builder, index, extents[axis]), axis=axis))
    order, _, in_front = indexed_order(len(extents), [axis for axis, _ in given])
    places, count = [one for _, one in given], len(extents) - len(given)
    rest = [extents[axis] for axis in order[len(given) :]]
    flat = flat_places(builder, [extents[axis] for axis, _ in given], places)
    rows = builder.emit(relax.op.reshape(builder.emit(relax.op.permute_dims(data, order)), [-1, *rest]))
    found = builder.emit(relax.op.take(rows, flat, axis=0))
    added = len(found.ty.shape.values) - count
    back = [*range(added, added + in_front), *range(added), *range(added + in_front, added + count)]
    return builder.emit(relax.op.permute_dims(found, back)) if in_front else found


def indexed_order(rank: int, axes: list[int]) -> tuple[list[int], list[int], int]:
    """Return the axes with the indexed ones first, the order that undoes it, and where torch puts the indices' axes.

    They replace the indexed axes, or first if those are not neighbours.
    """
    order = [*axes, *(axis for axis in range(rank) if axis not in axes)]
    together = axes[-1] - axes[0] == len(axes) - 1
    return order, [order.index(axis) for axis in range(rank)], axes[0] if together else 0


def slice_of_any(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
    """Take a slice. If it is dynamic and torch has proved that nothing is clamped, take places instead."""
    whole: list[Any] = [*node.args, *(None, 0, None, None, 1)[len(node.args) :]]
    axis, given, step = whole[1], whole[2:4], whole[4]
    extent = _meta(node.args[0], axis)
    ends = [end.meta["val"] if isinstance(end, fx.Node) else end for end in given]
    if not any(isinstance(value, SymInt) for value in (extent, *ends)) or not isinstance(step, int):
        return importer._slice(node)
    begin, end = _ends(ends, extent)
    if not statically_known_true((end - begin + step - 1) // step == node.meta["val"].shape[axis]):
        return importer._slice(node)
    data = importer.env[node.args[0]]
    size = data.ty.shape.values[axis]
    first, last = _ends([importer.env[value] if isinstance(value, fx.Node) else value for value in given], size)
    if isinstance(first, int) and first == 0 and step == 1 and (last is size or structural_equal(last, size)):
        return data
    places = importer.block_builder.emit(relax.op.arange(first, last, step, "int64"))
    return importer.block_builder.emit(relax.op.take(data, places, axis=axis))


def _ends(given: list[Any], extent: Any) -> tuple[Any, Any]:
    """Return where a slice begins and ends, counted from the beginning."""
    begin, end = given
    begin = 0 if begin is None else begin
    end = extent if end is None or (isinstance(end, int) and end == sys.maxsize) else end
    first, last = (extent + at if isinstance(at, int) and at < 0 else at for at in (begin, end))
    return first, last


def _meta(node: Any, axis: int) -> Any:
    """Return an extent in the exported graph: an int, or a SymInt."""
    return node.meta["val"].shape[axis]


def _size(builder: relax.BlockBuilder, extent: Any) -> relax.Var:
    """Return an extent as a tensor with one element."""
    return builder.emit(relax.op.shape_to_tensor(relax.ShapeExpr([extent])))


def number(builder: relax.BlockBuilder, extent: Any) -> relax.Var:
    """Return a size that is known only when it runs, as a tensor without axes."""
    return builder.emit(relax.op.squeeze(_size(builder, extent)))


def _forward(builder: relax.BlockBuilder, index: Any, extent: Any) -> relax.Var:
    """Return the index, counted from the beginning."""
    index = builder.emit(relax.op.astype(index, "int64"))
    behind = builder.emit(relax.op.add(index, _size(builder, extent)))
    return builder.emit(relax.op.where(relax.op.less(index, relax.const(0, "int64")), behind, index))


def flat_places(builder: relax.BlockBuilder, extents: list[Any], indices: list[Any]) -> Any:
    """Return one index for several of neighbouring axes: a single lookup keeps the shape of dynamic extents."""
    flat: Any = None
    for extent, index in zip(extents, indices, strict=True):
        forward = _forward(builder, index, extent)
        flat = forward if flat is None else relax.op.add(relax.op.multiply(flat, _size(builder, extent)), forward)
        flat = builder.emit(flat)
    return flat
