"""How TVM's importer reads torch operators that it has no good word for: as operators of our own.

Those of :mod:`harness.models.g2p.ops` work on caches; torch's attention is kept whole (TVM 0.27's importer would
drop its ``scale``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from tvm import relax

from harness.compiler.passes.fused import AppendAndAttendOp, AttendMemoryOp, DotAttentionOp, OpTable, StoreMemoryOp

Converter = Callable[[fx.Node, Any], relax.Var]

KEPT_WHOLE = (
    torch.ops.aten.scaled_dot_product_attention.default,
    torch.ops.aten.linear.default,
    torch.ops.aten.layer_norm.default,
)
"""Operators that torch would decompose and that a pattern or TVM understands better as they are."""


def converters(table: OpTable) -> dict[str, Converter]:
    """Importer entries by operator name, for ``from_exported_program(custom_convert_map=...)``."""

    def values(node: fx.Node, importer: Any) -> list[Any]:
        return [importer.env[a] if isinstance(a, fx.Node) else a for a in node.args]

    def append_and_attend(node: fx.Node, importer: Any) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        qkv, cache = tensors[0], tensors[4]
        rows, width = qkv.ty.shape.values
        context = relax.TensorType([rows, int(width) // 3], "float32")
        call = table.call(AppendAndAttendOp(layer, heads), tensors, [context, cache.ty])
        return importer.block_builder.emit(call)

    def attend_memory(node: fx.Node, importer: Any) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        return importer.block_builder.emit(table.call(AttendMemoryOp(layer, heads), tensors, tensors[0].ty))

    def store_memory(node: fx.Node, importer: Any) -> relax.Var:
        source, heads, capacity, dtype = values(node, importer)
        batch, _, layers, _, width = source.ty.shape.values
        memory = relax.TensorType([batch, layers, 2, capacity * int(width)], str(dtype).removeprefix("torch."))
        return importer.block_builder.emit(table.call(StoreMemoryOp(heads), [source], memory))

    def dot_attention(node: fx.Node, importer: Any) -> relax.Var:
        query, key, value, *rest = values(node, importer)
        options = dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False))
        options |= {k: importer.env[v] if isinstance(v, fx.Node) else v for k, v in node.kwargs.items()}
        mask, scale = options.get("attn_mask"), options.get("scale")
        if options.get("is_causal") or options.get("enable_gqa") or len(query.ty.shape.values) != 4:
            return importer._scaled_dot_product_attention(node)
        if mask is not None and (str(mask.ty.dtype) != "float32" or len(mask.ty.shape.values) != 4):
            return importer._scaled_dot_product_attention(node)
        size = int(query.ty.shape.values[3])
        op = DotAttentionOp(float(scale) if scale is not None else size**-0.5)
        args = [query, key, value] if mask is None else [query, key, value, mask]
        return importer.block_builder.emit(table.call(op, args, query.ty))

    return {
        "append_and_attend.default": append_and_attend,
        "attend_memory.default": attend_memory,
        "store_memory.default": store_memory,
        "scaled_dot_product_attention.default": dot_attention,
    }
