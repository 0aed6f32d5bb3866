"""Define importer entries for operators that write to places of a tensor: ``index_put``, ``scatter`` and similar ones.

TVM 0.27's importer lacks most of them. Its ``index_put`` takes only as many indices as the tensor has axes, and its
``scatter`` no source that is larger than the places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.graph.graph import extents
from harness.compiler.importer.arguments import arguments, given
from harness.compiler.importer.indexing import flat_places, indexed_order
from harness.compiler.operators.operator import OpTable

Emit = Callable[[Any], Any]
REDUCTIONS = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max", "amin": "min"}
"""TVM's names of torch's reductions."""


def index_put(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Write ``values`` to ``data[i, :, j]``, or add them there."""
    named = arguments(node, importer, "self", "indices", "values", "accumulate", accumulate=False)
    data, values, builder = named["self"], named["values"], importer.block_builder
    emit: Emit = builder.emit
    indices = [(axis, index) for axis, index in enumerate(named["indices"]) if index is not None]
    if any(str(index.ty.dtype) == "bool" for _, index in indices):
        return _masked_put(emit, data, [index for _, index in indices], values, accumulate=bool(named["accumulate"]))
    shape = list(data.ty.shape.values)
    order, back, joined = indexed_order(given(node)[0].meta["val"].ndim, [axis for axis, _ in indices])
    rest = [shape[axis] for axis in order[len(indices) :]]
    flat = flat_places(builder, [shape[axis] for axis, _ in indices], [index for _, index in indices])
    places = list(flat.ty.shape.values)
    # As torch reads it, the places' axes stand where the indexed axes were. They come first here.
    read = [*rest[:joined], *places, *rest[joined:]]
    wide = emit(relax.op.broadcast_to(values, relax.ShapeExpr(read)))
    ahead = [*range(joined, joined + len(places)), *range(joined), *range(joined + len(places), len(read))]
    wide = emit(relax.op.reshape(emit(relax.op.permute_dims(wide, ahead)), [-1, *rest]))
    rows = emit(relax.op.reshape(emit(relax.op.permute_dims(data, order)), [-1, *rest]))
    where = emit(relax.op.reshape(flat, [-1, 1]))
    put = emit(relax.op.scatter_nd(rows, where, wide, "add" if named["accumulate"] else "update"))
    whole = emit(relax.op.reshape(put, relax.ShapeExpr([shape[axis] for axis in order])))
    return emit(relax.op.permute_dims(whole, back))


def _masked_put(emit: Emit, data: Any, masks: list[Any], values: Any, *, accumulate: bool) -> Any:
    """Write one number where a mask over the first axes is true."""
    shape = extents(values)
    if len(masks) > 1 or shape is None or any(extent != 1 for extent in shape):
        raise ValueError("data[mask] = values with more than one value: write torch.where(mask, values, data)")
    [mask], number = masks, emit(relax.op.reshape(values, []))
    behind = len(data.ty.shape.values) - len(mask.ty.shape.values)
    for _ in range(behind):
        mask = emit(relax.op.expand_dims(mask, -1))
    return emit(relax.op.where(mask, relax.op.add(data, number) if accumulate else number, data))


def scatter(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``scatter`` of a tensor or a number, with or without a reduction, and ``scatter_add``."""
    given = arguments(node, importer, "self", "dim", "index", "src", reduce=None)
    reduce = "add" if str(node.target).startswith("aten.scatter_add") else given["reduce"]
    reduction = "update" if reduce is None else REDUCTIONS[reduce]
    x, index = given["self"], given["index"]
    return _scatter(importer, x, given["dim"], index, given.get("value", given.get("src")), reduction)


def scatter_reduce(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``scatter_reduce``, also of means, and without what was there before."""
    given = arguments(node, importer, "self", "dim", "index", "src", "reduce", include_self=True)
    x, axis, index, emit = given["self"], given["dim"], given["index"], importer.block_builder.emit
    kind, reduce = str(x.ty.dtype), given["reduce"]
    one = relax.const(1, kind)
    total = "sum" if reduce == "mean" else reduce
    start = x if given["include_self"] else _scatter(importer, x, axis, index, _identity(total, kind), "update")
    found = _scatter(importer, start, axis, index, given["src"], REDUCTIONS[total])
    if reduce != "mean":
        return found
    none = emit(relax.op.zeros_like(x))
    counts = _scatter(importer, none, axis, index, one, "add")
    # A place that nothing goes to keeps its value.
    counts = relax.op.add(counts, one) if given["include_self"] else relax.op.maximum(counts, one)
    divide = relax.op.divide if kind.startswith("float") else relax.op.floor_divide
    return emit(divide(found, emit(counts)))


def _identity(reduce: str, kind: str) -> Any:
    """Return the number that changes nothing in a reduction."""
    if reduce in ("amax", "amin"):
        fraction = kind.startswith("float")
        lowest, highest = (-np.inf, np.inf) if fraction else (np.iinfo(kind).min, np.iinfo(kind).max)
        return relax.const(lowest if reduce == "amax" else highest, kind)
    return relax.const(1 if reduce == "prod" else 0, kind)


def gather(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Read the places that ``index`` has along an axis. It may be smaller than the tensor along the others."""
    named = arguments(node, importer, "self", "dim", "index")
    x, index, emit = named["self"], named["index"], importer.block_builder.emit
    if not list(x.ty.shape.values):
        return x
    flat = _whole_places(importer, x, named["dim"], index)
    return emit(relax.op.take(emit(relax.op.reshape(x, [-1])), flat, axis=0))


def _scatter(importer: Any, x: Any, axis: int, index: Any, source: Any, reduction: str) -> Any:
    """Scatter the part of ``source`` that ``index`` has places for."""
    shape, emit = list(index.ty.shape.values), importer.block_builder.emit
    if not isinstance(source, relax.Expr):
        source = relax.const(source, str(x.ty.dtype))
    if not shape:
        raise ValueError("scatter of tensors without axes")
    if extents(source) == ():
        source = emit(relax.op.broadcast_to(source, relax.ShapeExpr(shape)))
    elif extents(source) != extents(index):
        for at, (there, wanted) in enumerate(zip(extents(source) or (), extents(index) or (), strict=True)):
            if not structural_equal(there, wanted):
                first = emit(relax.op.arange(0, wanted, 1, "int64"))
                source = emit(relax.op.take(source, first, axis=at))
    flat = emit(relax.op.reshape(_whole_places(importer, x, axis, index), [-1, 1]))
    values, into = (emit(relax.op.reshape(one, [-1])) for one in (source, x))
    found = emit(relax.op.scatter_nd(into, flat, values, reduction))
    return emit(relax.op.reshape(found, x.ty.shape))


def _whole_places(importer: Any, x: Any, axis: int, index: Any) -> Any:
    """Return the places in the whole of ``x``, as one row, that ``index`` has along an axis.

    TVM's operators for elements take the index's other extents for the tensor's.
    """
    builder, rank = importer.block_builder, len(x.ty.shape.values)
    places = []
    for at, extent in enumerate(index.ty.shape.values):
        if at == axis % rank:
            places.append(index)
            continue
        along = builder.emit(relax.op.arange(0, extent, 1, "int64"))
        places.append(builder.emit(relax.op.reshape(along, [1] * at + [-1] + [1] * (rank - 1 - at))))
    return flat_places(builder, list(x.ty.shape.values), places)
