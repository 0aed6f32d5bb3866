"""x * sigmoid(1.702 x), CLIP's activation, as one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.tirx.script import builder as T

from harness.compiler.graph.graph import Graph, extents, is_float32
from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable
from harness.compiler.targets.profiles import Profile

FACTOR = 1.702


@dataclass(frozen=True)
class QuickGeluOp(FusedOperator):
    """Arguments: x [..., N]."""

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        product, shape = graph.call(value, "relax.multiply"), extents(value)
        if product is None or not is_float32(value) or not shape or not isinstance(shape[-1], int):
            return None
        for x, other in (product.args, product.args[::-1]):
            gate = graph.call(other, "relax.sigmoid")
            scaled = None if gate is None else graph.call(gate.args[0], "relax.multiply")
            if scaled is not None and scaled.args[0].same_as(x) and graph.scalar(scaled.args[1]) == np.float32(FACTOR):
                return Match(cls(), (x,), value.ty)
        return None

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        *leading, width = Dims().of(args[0])
        return lowering.call(quick_gelu(lowering.profile, tuple(leading), int(width)), args, call.ty)


def quick_gelu(profile: Profile, leading: tuple[Dim, ...], width: int) -> Kernel:
    """(x [..., N]) to y [..., N]."""

    def emit(buffers: Buffers) -> None:
        rows = vector.rows_of(buffers["x"])
        x, y = (vector.flat(buffers[name], (rows, width)) for name in ("x", "y"))
        with T.serial(rows) as row:

            def body(column: Any, lanes: int) -> None:
                value = T.bind(vector.load(x, row, column, lanes=lanes))
                result = vector.sigmoid_like(value, vector.f32(-FACTOR, lanes) * value, lanes)
                vector.store(y, result, row, column, lanes=lanes)

            vector.chunks(width, profile.lanes, body)

    shape = (*leading, width)
    return Kernel(f"quick_gelu_{shape_name(shape)}", (Param("x", shape), Param("y", shape, role="output")), emit)
