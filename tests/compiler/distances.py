"""torch.cdist, the distance of each pair of points, which TVM's importer lacks."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.operators.operator import OpTable, values


def distances(node: fx.Node, importer: Any, _table: OpTable) -> relax.Var:
    """Convert x [..., P, M] and y [..., R, M] to [..., P, R]."""
    x, y, norm, _mode = values(node, importer)
    emit = importer.block_builder.emit
    apart = emit(relax.op.subtract(emit(relax.op.expand_dims(x, -2)), emit(relax.op.expand_dims(y, -3))))
    if norm == 1.0:
        return emit(relax.op.sum(emit(relax.op.abs(apart)), -1))
    if norm == 2.0:
        return emit(relax.op.sqrt(emit(relax.op.sum(emit(relax.op.multiply(apart, apart)), -1))))
    raise ValueError(f"distances of the norm {norm:g}; there are 1 and 2")
