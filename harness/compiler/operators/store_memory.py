"""Define the storing of the encoder's keys and values for all steps of a decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.kernels import attention
from harness.compiler.operators.operator import Converter, FusedOperator, Lowering, OpTable, values


@dataclass(frozen=True)
class StoreMemoryOp(FusedOperator):
    """Arguments: source [B, S, L, 2, G]. Returns memory [B, L, 2, capacity * G]."""

    heads: int

    @classmethod
    def converters(cls) -> Mapping[str, Converter]:
        return {"store_memory.default": cls._convert}

    @classmethod
    def _convert(cls, node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
        source, heads, capacity, dtype = values(node, importer)
        batch, _, layers, _, width = source.ty.shape.values
        memory = relax.TensorType([batch, layers, 2, capacity * int(width)], str(dtype).removeprefix("torch."))
        return importer.block_builder.emit(table.call(cls(heads), [source], memory))

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        batch, layers, _, size = (int(extent) for extent in extents(call) or ())
        _, length, _, _, width = extents(args[0]) or ()
        heads = attention.Heads(self.heads, width // self.heads)
        joined = lowering.emit(relax.op.reshape(args[0], relax.ShapeExpr([batch, length, layers * 2 * width])))
        kernel = attention.store_memory(lowering.profile, heads, batch, size // heads.width, layers, str(call.ty.dtype))
        return lowering.call(kernel, [joined], call.ty)
