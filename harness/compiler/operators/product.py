"""Patterns of a product with a constant weight, and of the norms in front of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.compiler.graph.graph import Array, Graph, extents, is_float32
from harness.compiler.kernels.norm import Norm
from harness.compiler.kernels.product import Product

ACTIVATION_OPS = {
    "relax.nn.gelu_tanh": "gelu_tanh",
    "relax.nn.gelu": "gelu",
    "relax.nn.silu": "silu",
    "relax.nn.relu": "relu",
}


@dataclass(frozen=True)
class NormMatch:
    """``arrays``: gain, and for a layer norm shift."""

    kind: Norm
    x: Any
    eps: float
    arrays: tuple[Array, ...]


@dataclass(frozen=True)
class Linear:
    """residual + activation(norm(x) weight + bias), or the gated form (see kernels/product.py)."""

    x: Any
    weight: Array
    norm: NormMatch | None = None
    bias: Array | None = None
    activation: str | None = None
    gated: bool = False
    residual: Any = None

    @property
    def norm_args(self) -> tuple[Array, ...]:
        return () if self.norm is None else self.norm.arrays

    @property
    def product(self) -> Product:
        depth, width = self.weight.shape
        return Product(
            depth,
            width,
            norm=None if self.norm is None else self.norm.kind,
            eps=0.0 if self.norm is None else self.norm.eps,
            bias=self.bias is not None,
            activation=self.activation,
            gated=self.gated,
            residual=self.residual is not None,
        )


def match_norm(graph: Graph, value: Any) -> NormMatch | None:
    """x * rsqrt(mean(x**2) + eps) * gain in any order of the factors, or relax.nn.layer_norm over the last axis."""
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
    """x and eps of x * rsqrt(mean(x**2, -1) + eps)."""
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


def match_linear(graph: Graph, value: Any) -> Linear | None:
    """The largest of our products that ends in ``value``."""
    if not is_float32(value):
        return None
    return _with_residual(graph, value) or _gated(graph, value) or _activated(graph, value)


def _with_residual(graph: Graph, value: Any) -> Linear | None:
    call = graph.call(value, "relax.add")
    if call is None:
        return None
    for side, other in (call.args, call.args[::-1]):
        if graph.constant(other) is not None or graph.uses(side) != 1 or extents(other) != extents(value):
            continue
        inner = _gated(graph, side) or _activated(graph, side)
        if inner is not None:
            return replace(inner, residual=other)
    return None


def _gated(graph: Graph, value: Any) -> Linear | None:
    """activation(x A) * (x B)."""
    call = graph.call(value, "relax.multiply")
    if call is None:
        return None
    for gate_side, up_side in (call.args, call.args[::-1]):
        if graph.uses(gate_side) != 1 or graph.uses(up_side) != 1:
            continue
        gate, up = _activated(graph, gate_side), _biased(graph, up_side)
        if gate is None or up is None or gate.activation is None or not mergeable([gate, up]):
            continue
        return replace(merged([replace(gate, activation=None), up]), activation=gate.activation, gated=True)
    return None


def _activated(graph: Graph, value: Any) -> Linear | None:
    call = graph.call(value, *ACTIVATION_OPS)
    if call is None:
        return _biased(graph, value)
    inner = _biased(graph, call.args[0]) if graph.uses(call.args[0]) == 1 else None
    return None if inner is None else replace(inner, activation=ACTIVATION_OPS[call.op.name])


def _biased(graph: Graph, value: Any) -> Linear | None:
    call = graph.call(value, "relax.add")
    if call is None:
        return plain_product(graph, value)
    for side, other in (call.args, call.args[::-1]):
        bias = graph.constant(other)
        if bias is None or bias.ndim != 1 or graph.uses(side) != 1:
            continue
        inner = plain_product(graph, side)
        if inner is not None and bias.shape[0] == inner.weight.shape[1]:
            return replace(inner, bias=bias.astype(np.float32))
    return None


def plain_product(graph: Graph, value: Any) -> Linear | None:
    """norm(x) W, or x W."""
    call = graph.call(value, "relax.matmul")
    if call is None:
        return None
    x, weight = call.args[0], graph.constant(call.args[1])
    shape = extents(x)
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or shape is None or len(shape) < 2:
        return None
    norm = match_norm(graph, x)
    return Linear(x if norm is None else norm.x, weight, norm)


def mergeable(parts: list[Linear]) -> bool:
    """Whether products read the same rows, so that one product with all their columns does."""
    first = parts[0]
    return all(
        part.x.same_as(first.x)
        and part.residual is None
        and part.activation is None
        and (part.bias is None) == (first.bias is None)
        and _same_norm(part.norm, first.norm)
        for part in [replace(parts[0], activation=None), *parts[1:]]
    )


def _same_norm(a: NormMatch | None, b: NormMatch | None) -> bool:
    if a is None or b is None:
        return a is b
    same = a.kind == b.kind and a.eps == b.eps and a.x.same_as(b.x)
    return same and all(np.array_equal(x, y) for x, y in zip(a.arrays, b.arrays, strict=True))


def merged(parts: list[Linear]) -> Linear:
    """One product whose columns are those of all parts, in their order."""
    biases = [part.bias for part in parts if part.bias is not None]
    return replace(
        parts[0],
        weight=np.concatenate([part.weight for part in parts], axis=1),
        bias=np.concatenate(biases) if biases else None,
    )
