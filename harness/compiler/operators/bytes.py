"""Define conversions between float32 and bytes, which KeepBytes puts between convolutions and other operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax

from harness.compiler.graph.graph import static_shape
from harness.compiler.kernels.bytes import from_bytes_kernel, grid_numbers, to_bytes_kernel
from harness.compiler.kernels.grid import Grid
from harness.compiler.operators.operator import FusedOperator, Lowering


@dataclass(frozen=True)
class ToBytesOp(FusedOperator):
    """Arguments: x. A ``planar`` image [N, C, H, W] becomes [N, H, W, 4]."""

    grid: Grid
    kind: str
    planar: bool = False

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        shape = static_shape(args[0])
        assert shape is not None
        kernel = to_bytes_kernel(lowering.profile, shape, self.kind, planar=self.planar)
        return lowering.call(kernel, [args[0], relax.const(grid_numbers(self.kind, None, self.grid))], call.ty)


@dataclass(frozen=True)
class FromBytesOp(FusedOperator):
    """Arguments: x, of bytes."""

    grid: Grid
    kind: str

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        shape = static_shape(args[0])
        assert shape is not None
        kernel = from_bytes_kernel(lowering.profile, shape, self.kind)
        numbers = grid_numbers(self.kind, None, None, (self.grid,))
        return lowering.call(kernel, [args[0], relax.const(numbers)], call.ty)
