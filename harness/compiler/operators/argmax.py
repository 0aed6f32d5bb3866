"""Define argmax: the place of each row's highest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax

from harness.compiler.graph.graph import Graph, extents, is_float32, op_name
from harness.compiler.kernels.rows import argmax
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable


@dataclass(frozen=True)
class ArgmaxOp(FusedOperator):
    """Arguments: x [..., V]."""

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        """Find argmax over the last axis, with the conversion of torch's int64 to int32 if there is one."""
        call = graph.call(value, "relax.argmax", "relax.astype")
        if call is not None and op_name(call) == "relax.astype":
            call = graph.call(call.args[0], "relax.argmax")
        if call is None or call.attrs.keepdims or str(value.ty.dtype) not in ("int32", "int64"):
            return None
        x, axis = call.args[0], call.attrs.axis
        shape = extents(x)
        if shape is None or axis is None or int(axis) % len(shape) != len(shape) - 1 or not isinstance(shape[-1], int):
            return None
        return Match(cls(), (x,), value.ty) if is_float32(x) else None

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        *leading, width = Dims().of(args[0])
        kernel = argmax(lowering.profile, tuple(leading), int(width), str(call.ty.dtype))
        return lowering.call(kernel, args, call.ty)
