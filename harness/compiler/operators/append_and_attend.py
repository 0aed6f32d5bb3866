"""Define a decoder's step of self-attention: the new row goes into the cache, then attends to all rows so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.kernels import attention
from harness.compiler.operators.operator import Converter, Dims, FusedOperator, Lowering, OpTable, values


@dataclass(frozen=True)
class AppendAndAttendOp(FusedOperator):
    """Arguments: qkv, distance_bias, rows, position, cache. Returns the context and the cache."""

    layer: int
    heads: int

    @classmethod
    def converters(cls) -> Mapping[str, Converter]:
        return {"append_and_attend.default": cls._convert}

    @classmethod
    def _convert(cls, node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        qkv, cache = tensors[0], tensors[4]
        rows, width = qkv.ty.shape.values
        context = relax.TensorType([rows, int(width) // 3], "float32")
        return importer.block_builder.emit(table.call(cls(layer, heads), tensors, [context, cache.ty]))

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        count, width = Dims().of(args[0])
        batch, layers, _, size = (int(extent) for extent in extents(args[4]) or ())
        heads = attention.Heads(self.heads, int(width) // 3 // self.heads)
        kernel = attention.append_and_attend(
            lowering.profile, heads, count, batch, size // heads.width, layers, self.layer, str(args[4].ty.dtype)
        )
        return lowering.call(kernel, args, list(call.ty.fields), in_place=[-1, 4])
