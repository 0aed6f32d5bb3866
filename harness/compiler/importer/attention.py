"""Import torch's attention as an operator of our own. TVM 0.27's importer would drop its ``scale``."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.operators.attention import DotAttentionOp
from harness.compiler.operators.operator import OpTable, values

HIDDEN = -1e30
"""Added where a boolean mask is false. Its exponential is 0, and a row without any visible key stays finite."""


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


def _causal(builder: relax.BlockBuilder, queries: Any, keys: Any) -> Any:
    """Return bool [queries, keys]: each query sees the keys up to its own place."""
    rows, columns = (builder.emit(relax.op.arange(0, extent, 1, "int64")) for extent in (queries, keys))
    return builder.emit(relax.op.less_equal(columns, builder.emit(relax.op.expand_dims(rows, 1))))


def dot_attention(node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
    """Convert ``scaled_dot_product_attention``."""
    query, key, value, *rest = values(node, importer)
    options = dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
    options |= {k: importer.env[v] if isinstance(v, fx.Node) else v for k, v in node.kwargs.items()}
    axes, emit = len(query.ty.shape.values), importer.block_builder.emit
    scale = options.get("scale")
    alike = structural_equal(query.ty.shape.values[-1], value.ty.shape.values[-1])
    if not 2 <= axes <= 4 or str(query.ty.dtype) != "float32" or not alike:
        if scale is not None:
            raise ValueError(f"attention of {query.ty} and {value.ty} with a scale of its own")
        return importer._scaled_dot_product_attention(node)
    sides = [emit(_with_heads(side, axes)) for side in (query, key, value)]
    if options.get("enable_gqa"):
        sides[1:] = [emit(_repeated(side, sides[0])) for side in sides[1:]]
    mask = options.get("attn_mask")
    if options.get("is_causal"):
        mask = _causal(importer.block_builder, *(side.ty.shape.values[2] for side in sides[:2]))
    if mask is not None:
        mask = emit(_with_heads(mask, axes))
        bounded = _additive(mask) if str(mask.ty.dtype) == "bool" else relax.op.astype(mask, "float32")
        sides.append(emit(bounded))
    size = int(query.ty.shape.values[-1])
    op = DotAttentionOp(float(scale) if scale is not None else size**-0.5)
    found = emit(table.call(op, sides, sides[0].ty))
    return emit(relax.op.squeeze(found, WITHOUT_HEADS[axes])) if axes in WITHOUT_HEADS else found
