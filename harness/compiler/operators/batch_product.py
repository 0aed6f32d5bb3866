"""Define a product of two activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm_ffi import structural_equal

from harness.compiler.graph.graph import Graph, extents, is_float32
from harness.compiler.kernels.batch_product import batch_product
from harness.compiler.kernels.fixed_product import fixed_product
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable


@dataclass(frozen=True)
class BatchProductOp(FusedOperator):
    """Arguments: a [..., M, K], b [..., K, N], both activations with the same leading extents."""

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        """Find a product of two activations with the same leading extents."""
        call = graph.call(value, "relax.matmul")
        if call is None or not is_float32(value):
            return None
        a, b = (extents(argument) for argument in call.args)
        if a is None or b is None or len(a) != len(b) or len(a) < 2:
            return None
        same = all(structural_equal(x, y) for x, y in zip(a[:-2], b[:-2], strict=True))
        constant = any(graph.constant(argument) is not None for argument in call.args)
        return None if constant or not same else Match(cls(), tuple(call.args), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        dims = Dims()
        a, b = (dims.of(arg) for arg in args)
        if all(isinstance(extent, int) for extent in (*a, *b)):
            *leading, rows, depth = (int(extent) for extent in a)
            kernel = fixed_product(lowering.profile, tuple(leading), rows, int(b[-1]), depth)
        else:
            kernel = batch_product(a[:-2], a[-2], b[-1], a[-1])
        return lowering.call(kernel, args, call.ty)
