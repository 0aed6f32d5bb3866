"""Define a norm over rows that no product follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from harness.compiler.graph.graph import Array, Graph, extents, is_float32
from harness.compiler.kernels.norm import Norm, norm_kernel
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable


@dataclass(frozen=True)
class NormOp(FusedOperator):
    """Arguments: x, gain, shift (of a layer norm)."""

    norm: Norm
    eps: float

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        found = match_norm(graph, value)
        if found is None or not is_float32(value):
            return None
        return Match(cls(found.kind, found.eps), (found.x, *found.arrays), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        *leading, width = Dims().of(args[0])
        kernel = norm_kernel(lowering.profile, self.norm, tuple(leading), int(width), self.eps)
        return lowering.call(kernel, args, call.ty)


@dataclass(frozen=True)
class NormMatch:
    """Hold a norm found in a graph. ``arrays`` are the gain, and for a layer norm the shift."""

    kind: Norm
    x: Any
    eps: float
    arrays: tuple[Array, ...]


def match_norm(graph: Graph, value: Any) -> NormMatch | None:
    """Find x * rsqrt(mean(x**2) + eps) * gain in any order of factors, or relax.nn.layer_norm over the last axis."""
    call = graph.call(value, "relax.nn.layer_norm")
    if call is not None:
        shape = extents(value)
        gain, shift = (graph.constant(argument) for argument in call.args[1:3])
        axes = [int(axis) for axis in call.attrs.axes]
        if shape is None or gain is None or shift is None or axes not in ([-1], [len(shape) - 1]) or gain.ndim != 1:
            return None
        return NormMatch("layer", call.args[0], float(call.attrs.epsilon), (gain, shift))
    call = graph.call(value, "relax.multiply")
    if call is None:
        return None
    for gain_side, other in (call.args, call.args[::-1]):
        factor = graph.constant(gain_side)
        if factor is None or factor.dtype != np.float32:
            continue
        inner = match_norm(graph, other)
        if inner is not None and inner.kind == "rms" and factor.ndim <= 1:
            return replace(inner, arrays=(inner.arrays[0] * factor,))
        found = _rms(graph, other)
        if found is not None and factor.ndim == 1:
            return NormMatch("rms", *found, (factor,))
    return None


def _rms(graph: Graph, value: Any) -> tuple[Any, float] | None:
    """Return x and eps of x * rsqrt(mean(x**2, -1) + eps)."""
    call = graph.call(value, "relax.multiply")
    if call is None:
        return None
    for x, inverse in (call.args, call.args[::-1]):
        root = graph.call(inverse, "relax.rsqrt")
        total = None if root is None else graph.call(root.args[0], "relax.add")
        if total is None:
            continue
        for mean_side, eps_side in (total.args, total.args[::-1]):
            eps = graph.scalar(eps_side)
            mean = graph.call(mean_side, "relax.mean")
            if eps is not None and mean is not None and _is_row_mean_of_square(graph, mean, x):
                return x, eps
    return None


def _is_row_mean_of_square(graph: Graph, mean: Any, x: Any) -> bool:
    shape = extents(x)
    axes = None if mean.attrs.axis is None else [int(axis) for axis in mean.attrs.axis]
    if shape is None or not mean.attrs.keepdims or axes not in ([-1], [len(shape) - 1]):
        return False
    square = graph.call(mean.args[0], "relax.power", "relax.multiply", "relax.square")
    if square is None:
        return False
    same = all(argument.same_as(x) for argument in square.args)
    return same or (square.args[0].same_as(x) and len(square.args) == 2 and graph.scalar(square.args[1]) == 2.0)
