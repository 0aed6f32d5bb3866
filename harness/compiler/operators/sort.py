"""Define sorting: the places of each row's elements in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax

from harness.compiler.kernels.sort import sort_places
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering


@dataclass(frozen=True)
class SortOp(FusedOperator):
    """Only the importer makes it, from all of torch's operators that sort. Arguments: x [..., N]."""

    descending: bool

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        *leading, extent = Dims().of(args[0])
        kernel = sort_places(tuple(leading), extent, str(args[0].ty.dtype), descending=self.descending)
        return lowering.call(kernel, args, call.ty)
