"""Define a language model's attention: new rows go into the cache, then attend to all positions up to their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.kernels.causal import Causal, attend_causally
from harness.compiler.operators.operator import Converter, Dims, FusedOperator, Lowering, OpTable, values


@dataclass(frozen=True)
class AttendCausallyOp(FusedOperator):
    """Arguments: qkv, rotation (if any), norms (if any), position, cache. Returns the context and the cache."""

    layer: int
    heads: int
    kv_heads: int
    window: int
    eps: float
    cap: float
    rotary: int
    head_norms: bool

    @classmethod
    def converters(cls) -> Mapping[str, Converter]:
        return {"attend_causally.default": cls._convert}

    @classmethod
    def _convert(cls, node: fx.Node, importer: Any, table: OpTable) -> relax.Var:
        qkv, rotation, norms, position, cache, layer, heads, kv_heads, window, eps, cap = values(node, importer)
        count, width = qkv.ty.shape.values
        context = relax.TensorType([count, int(width) // (heads + 2 * kv_heads) * heads], "float32")
        rotary = int(rotation.ty.shape.values[1])
        op = cls(layer, heads, kv_heads, window, eps, cap, rotary, norms is not None)
        tensors = [qkv, *([rotation] if rotary else []), *([] if norms is None else [norms]), position, cache]
        return importer.block_builder.emit(table.call(op, tensors, [context, cache.ty]))

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        count, width = Dims().of(args[0])
        layers, _, length = (int(extent) for extent in extents(args[-1]) or ())
        size = int(width) // (self.heads + 2 * self.kv_heads)
        shape = Causal(
            self.heads,
            self.kv_heads,
            size,
            length // (self.kv_heads * size),
            layers,
            self.rotary,
            self.window,
            self.head_norms,
            self.eps,
            str(args[-1].ty.dtype),
            self.cap,
        )
        layer = relax.const(np.array([self.layer], np.int32))
        given = [*args[:-2], layer, *args[-2:]]
        kernel = attend_causally(lowering.profile, shape, count)
        return lowering.call(kernel, given, list(call.ty.fields), in_place=[-1, len(given) - 1])
