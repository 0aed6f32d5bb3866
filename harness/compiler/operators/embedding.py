"""Define the lookup of rows in a constant table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from harness.compiler.graph.graph import Graph, extents
from harness.compiler.kernels.rows import embedding
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable, array


@dataclass(frozen=True)
class EmbeddingOp(FusedOperator):
    """Arguments: ids, table [V, D]."""

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        call = graph.call(value, "relax.take")
        if call is None or call.attrs.axis is None or int(call.attrs.axis) != 0:
            return None
        rows, ids = graph.constant(call.args[0]), call.args[1]
        if graph.is_fixed(ids):
            return None  # TVM folds it
        if rows is None or rows.ndim != 2 or rows.dtype != np.float32 or extents(ids) is None:
            return None
        if str(ids.ty.dtype) not in ("int32", "int64"):
            return None
        return Match(cls(), (ids, rows), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        ids, rows = args[0], array(args[1])
        dtype = "float32" if lowering.precision == "fp32" else "float16"
        count, width = rows.shape
        kernel = embedding(lowering.profile, Dims().of(ids), str(ids.ty.dtype), count, width, dtype)
        return lowering.call(kernel, [ids, relax.const(rows.astype(dtype))], call.ty)
