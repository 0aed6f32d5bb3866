"""Define importer entries for bags of embeddings of any sizes, windows along an axis, and rows of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import fx
from tvm import relax

from harness.compiler.importer.arguments import arguments, given
from harness.compiler.importer.indexing import number
from harness.compiler.importer.unsupported import operator_name
from harness.compiler.operators.operator import OpTable

SUM, MEAN, MAX = range(3)


def embedding_bag(node: fx.Node, importer: Any, _table: OpTable) -> tuple[Any, ...]:
    """Reduce the rows of each bag; ``offsets`` is where each one begins.

    A bag's rows are summed by a product with a matrix [B, N] that is 1 where row n is of bag b.
    """
    named = arguments(
        *(node, importer, "weight", "indices", "offsets", "scale_grad", "mode", "sparse", "per_sample_weights"),
        *("include_last_offset", "padding_idx"),
        mode=SUM,
        per_sample_weights=None,
        include_last_offset=False,
        padding_idx=-1,
    )
    emit, op, mode, ids = importer.block_builder.emit, relax.op, named["mode"], named["indices"]
    rows = emit(op.take(named["weight"], ids, axis=0))
    kind = str(rows.ty.dtype)
    places = emit(op.arange(0, ids.ty.shape.values[0], 1, "int64"))
    offsets = emit(op.expand_dims(emit(op.astype(named["offsets"], "int64")), 1))
    begun = emit(op.less_equal(offsets, places))
    # Row n lies in the last bag that has begun: it has begun, and the next one has not.
    count = emit(op.sum(emit(op.astype(begun, "int64")), axis=0))
    bags = named["offsets"].ty.shape.values[0]
    bag = emit(op.expand_dims(emit(op.arange(1, bags + 1, 1, "int64")), 1))
    inside = emit(op.equal(count, bag))
    if named["padding_idx"] >= 0:
        inside = emit(
            op.logical_and(inside, emit(op.not_equal(ids, relax.const(named["padding_idx"], str(ids.ty.dtype)))))
        )
    if named["include_last_offset"]:
        inside = emit(op.take(inside, emit(op.arange(0, bags - 1, 1, "int64")), axis=0))
    member = emit(op.astype(inside, kind))
    size = emit(op.sum(member, axis=1, keepdims=True))
    if mode == MAX:
        found = _most(emit, rows, inside, size, kind)
    else:
        weights = named["per_sample_weights"]
        found = emit(op.matmul(member if weights is None else emit(op.multiply(member, weights)), rows))
        if mode == MEAN:
            found = emit(op.divide(found, emit(op.maximum(size, relax.const(1, kind)))))
    # Only the first result is of use without gradients.
    return (found, *(places for _ in range(3)))


def _most(emit: Any, rows: Any, inside: Any, size: Any, kind: str) -> Any:
    """Return the largest of each bag's rows; 0 for a bag without rows."""
    op = relax.op
    lowest = relax.const(float(np.finfo(kind).min), kind)
    hidden = emit(op.where(emit(op.expand_dims(inside, 2)), emit(op.expand_dims(rows, 0)), lowest))
    most = emit(op.max(hidden, axis=1))
    return emit(op.where(emit(op.greater(size, relax.const(0, kind))), most, relax.const(0, kind)))


def unfold(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Return the windows along an axis [..., count, ..., size]."""
    named = arguments(node, importer, "self", "dimension", "size", "step")
    x, size, step, emit = named["self"], named["size"], named["step"], importer.block_builder.emit
    rank = len(x.ty.shape.values)
    axis = named["dimension"] % rank
    windows = (x.ty.shape.values[axis] - size) // step + 1
    begins = emit(relax.op.arange(0, windows, 1, "int64"))
    begins = emit(relax.op.expand_dims(emit(relax.op.multiply(begins, relax.const(step, "int64"))), 1))
    places = emit(relax.op.add(begins, emit(relax.op.arange(0, size, 1, "int64"))))
    found = emit(relax.op.take(x, places, axis=axis))
    order = [*range(axis + 1), *range(axis + 2, rank + 1), axis + 1]
    return emit(relax.op.permute_dims(found, order))


def arange(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Count downwards, where TVM's importer makes too many numbers."""
    start, end, *rest = importer.retrieve_args(node)
    step = rest[0] if rest else 1
    if not isinstance(step, int) or step >= 0 or isinstance(start, float) or isinstance(end, float):
        return importer.create_convert_map()[operator_name(node)](node)
    emit, kind = importer.block_builder.emit, str(node.meta["val"].dtype).removeprefix("torch.")
    count = (start - end - step - 1) // -step
    down = emit(relax.op.multiply(emit(relax.op.arange(0, count, 1, "int64")), relax.const(step, "int64")))
    first = relax.const(start, "int64") if isinstance(start, int) else number(importer.block_builder, start)
    return emit(relax.op.astype(emit(relax.op.add(down, first)), kind))


def triangle(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``tril_indices`` and ``triu_indices`` of known sizes."""
    named = arguments(node, importer, "row", "col", "offset", offset=0)
    if not all(isinstance(named[name], int) for name in ("row", "col", "offset")):
        raise ValueError("a triangle of a size that is known only when it runs")
    make = np.tril_indices if node.target == torch.ops.aten.tril_indices.default else np.triu_indices
    places = np.stack(make(named["row"], named["offset"], named["col"]))
    return importer.block_builder.emit(relax.const(places.astype("int64"), "int64"))


def shift(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert shifts of bits by a number or a tensor."""
    x, other = importer.retrieve_args(node)[:2]
    kind, emit, builder = str(x.ty.dtype), importer.block_builder.emit, importer.block_builder
    if isinstance(other, int):
        other = relax.const(other, kind)
    elif isinstance(other, relax.Expr):
        other = emit(relax.op.astype(other, kind))
    else:
        other = emit(relax.op.astype(number(builder, other), kind))
    left = "left" in str(node.target) or "lshift" in str(node.target)
    return emit((relax.op.left_shift if left else relax.op.right_shift)(x, other))


def full(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Fill a tensor with a number that is not finite, for which TVM's fails when it is compiled."""
    value = given(node)[1] if len(given(node)) > 1 else node.kwargs.get("fill_value", node.kwargs.get("value"))
    made = node.meta["val"]
    if not isinstance(value, float) or math.isfinite(value) or made.is_complex():
        return importer.create_convert_map()[operator_name(node)](node)
    first = importer._retrieve_args(given(node)[0])
    shape = first.ty.shape if isinstance(first, relax.Expr) and not isinstance(first, relax.ShapeExpr) else first
    shape = shape if isinstance(shape, relax.Expr) else relax.ShapeExpr(list(shape))
    number = relax.const(value, str(made.dtype).removeprefix("torch."))
    return importer.block_builder.emit(relax.op.broadcast_to(number, shape))
