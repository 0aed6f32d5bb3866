"""Import torch's attention as an operator of our own. TVM 0.27's importer would drop its ``scale``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.graph.graph import extents
from harness.compiler.operators.attention import DotAttentionOp
from harness.compiler.operators.operator import OpTable, values

HIDDEN = float("-inf")
"""Added where a boolean mask is false. A query that sees no key has zeros as its result, as for torch."""


WITHOUT_HEADS = {2: [0, 1], 3: [1]}
"""The missing axes, by the number of axes of the given tensors."""


def _additive(mask: relax.Var) -> relax.Call:
    return relax.op.where(mask, relax.const(0.0, "float32"), relax.const(HIDDEN, "float32"))


def _with_heads(tensor: Any, axes: int) -> Any:
    """Return a side of attention, or its mask, as [B, H, S, K]. The sides have ``axes`` axes: [S, K], [B, S, K] or all.

    A mask's missing axes are the first ones.
    """
    missing = axes - len(tensor.ty.shape.values)
    whole = relax.op.expand_dims(tensor, list(range(missing))) if missing else tensor
    return relax.op.expand_dims(whole, WITHOUT_HEADS[axes]) if axes in WITHOUT_HEADS else whole


def _repeated(tensor: Any, query: Any) -> Any:
    """Repeat keys or values [B, G, S, K] for the H heads of the queries; neighbouring heads share one."""
    heads, groups = (int(side.ty.shape.values[1]) for side in (query, tensor))
    return tensor if heads == groups else relax.op.repeat(tensor, heads // groups, axis=1)


def _spread(emit: Callable[[Any], Any], sides: list[Any]) -> list[Any]:
    """Give all sides the same items and heads: torch takes one key head for all queries as well."""
    shapes = [extents(side) or () for side in sides]
    common = [next((shape[axis] for shape in shapes if not _is_one(shape[axis])), 1) for axis in (0, 1)]
    return [
        side
        if all(_is_one(common[axis]) or not _is_one(shape[axis]) for axis in (0, 1))
        else emit(relax.op.broadcast_to(side, relax.ShapeExpr([*common, *shape[2:]])))
        for side, shape in zip(sides, shapes, strict=True)
    ]


def _is_one(extent: Any) -> bool:
    return isinstance(extent, int) and extent == 1


def _causal(builder: relax.BlockBuilder, queries: Any, keys: Any) -> Any:
    """Return bool [queries, keys]: each query sees the keys up to its own place."""
    rows, columns = (builder.emit(relax.op.arange(0, extent, 1, "int64")) for extent in (queries, keys))
    return builder.emit(relax.op.less_equal(columns, builder.emit(relax.op.expand_dims(rows, 1))))


def dot_attention(node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
    """Convert ``scaled_dot_product_attention``."""
    query, key, value, *rest = values(node, importer)
    options = dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
    options |= {k: importer.env[v] if isinstance(v, fx.Node) else v for k, v in node.kwargs.items()}
    axes, emit, kind = len(query.ty.shape.values), importer.block_builder.emit, str(query.ty.dtype)
    if not 2 <= axes <= 4:
        raise ValueError(f"attention of tensors with {axes} axes; there are forms for 2 to 4")
    sides = [emit(_with_heads(side, axes)) for side in (query, key, value)]
    if options.get("enable_gqa"):
        sides[1:] = [emit(_repeated(side, sides[0])) for side in sides[1:]]
    sides = _spread(emit, sides)
    mask = options.get("attn_mask")
    if options.get("is_causal"):
        mask = _causal(importer.block_builder, *(side.ty.shape.values[2] for side in sides[:2]))
    bias = None
    if mask is not None:
        mask = emit(_with_heads(mask, axes))
        bias = emit(_additive(mask) if str(mask.ty.dtype) == "bool" else relax.op.astype(mask, "float32"))
    scale = options.get("scale")
    scale = float(scale) if scale is not None else int(query.ty.shape.values[-1]) ** -0.5
    if kind == "float32" and _has_kernel(sides):
        found = emit(table.call(DotAttentionOp(scale), sides if bias is None else [*sides, bias], sides[0].ty))
    else:
        found = _written_out(emit, sides, bias, scale, kind)
    return emit(relax.op.squeeze(found, WITHOUT_HEADS[axes])) if axes in WITHOUT_HEADS else found


def _has_kernel(sides: list[Any]) -> bool:
    """Return whether all sides have as many heads of one size, and as many items."""
    first, *others = (side.ty.shape.values for side in sides)
    return all(structural_equal(first[at], other[at]) for other in others for at in (0, 1, 3))


def _written_out(emit: Callable[[Any], Any], sides: list[Any], bias: Any, scale: float, kind: str) -> Any:
    """Return softmax(scale * Q K^T + bias) V as products and steps, for what has no kernel of its own."""
    op = relax.op
    query, key, value = sides
    scaled = emit(op.multiply(query, relax.const(scale, kind)))
    scores = emit(op.matmul(scaled, emit(op.permute_dims(key, [0, 1, 3, 2])), out_dtype=kind))
    if bias is None:
        return emit(op.matmul(emit(op.nn.softmax(scores, -1)), value, out_dtype=kind))
    scores = emit(op.add(scores, emit(op.astype(bias, kind))))
    # A query that sees no key has weights of 0 only.
    most = emit(op.maximum(emit(op.max(scores, -1, keepdims=True)), relax.const(float(np.finfo(kind).min), kind)))
    weights = emit(op.exp(emit(op.subtract(scores, most))))
    total = emit(op.sum(weights, -1, keepdims=True))
    total = emit(op.where(emit(op.greater(total, relax.const(0.0, kind))), total, relax.const(1.0, kind)))
    return emit(op.matmul(emit(op.divide(weights, total)), value, out_dtype=kind))
