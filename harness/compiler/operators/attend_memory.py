"""Define a decoder's step of attention to the encoder's rows, which are in memory."""

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
class AttendMemoryOp(FusedOperator):
    """Arguments: query, rows, lengths, memory."""

    layer: int
    heads: int

    @classmethod
    def converters(cls) -> Mapping[str, Converter]:
        return {"attend_memory.default": cls._convert}

    @classmethod
    def _convert(cls, node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
        *tensors, layer, heads = values(node, importer)
        return importer.block_builder.emit(table.call(cls(layer, heads), tensors, tensors[0].ty))

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        count, width = Dims().of(args[0])
        batch, layers, _, size = (int(extent) for extent in extents(args[3]) or ())
        heads = attention.Heads(self.heads, int(width) // self.heads)
        kernel = attention.attend_memory(
            lowering.profile, heads, count, batch, size // heads.width, layers, self.layer, str(args[3].ty.dtype)
        )
        return lowering.call(kernel, args, call.ty)
