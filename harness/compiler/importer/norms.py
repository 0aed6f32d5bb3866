"""Define importer entries for norms without a weight or without a bias, in which TVM 0.27's importer fails."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.importer.arguments import arguments
from harness.compiler.operators.operator import OpTable


def _filled(named: dict[str, Any], shape: list[int]) -> tuple[Any, Any, Any]:
    """Return the input, its weight and its bias; ones and zeros for what is missing."""
    x = named["input"]
    kind = str(x.ty.dtype)
    weight, bias = named.get("weight"), named.get("bias")
    weight = relax.const(np.ones(shape, kind), kind) if weight is None else weight
    return x, weight, relax.const(np.zeros(shape, kind), kind) if bias is None else bias


def layer_norm(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    named = arguments(node, importer, "input", "normalized_shape", "weight", "bias", "eps", eps=1e-5)
    shape = [int(extent) for extent in named["normalized_shape"]]
    axes = list(range(-len(shape), 0))
    norm = relax.op.nn.layer_norm(*_filled(named, shape), axes=axes, epsilon=named["eps"])
    return importer.block_builder.emit(norm)


def group_norm(node: fx.Node, importer: Any, _table: OpTable) -> tuple[Any, ...]:
    """Convert ``native_group_norm``. Its mean and inverse deviation are made where something uses them."""
    named = arguments(node, importer, "input", "weight", "bias", "N", "C", "HxW", "group", "eps", eps=1e-5)
    x, groups = named["input"], int(named["group"])
    shape = extents(x) or ()
    filled = _filled(named, [int(named["C"])])
    axes = list(range(2, len(shape)))
    emit, op = importer.block_builder.emit, relax.op
    norm = op.nn.group_norm(*filled, num_groups=groups, channel_axis=1, axes=axes, epsilon=named["eps"])
    if all(user.args[1] == 0 for user in node.users):
        return (emit(norm),)
    rows = emit(op.reshape(x, [int(named["N"]), groups, -1]))
    mean, spread = emit(op.mean(rows, axis=-1)), emit(op.variance(rows, axis=-1))
    inverse = op.rsqrt(emit(op.add(spread, relax.const(named["eps"], str(x.ty.dtype)))))
    return emit(norm), mean, emit(inverse)
