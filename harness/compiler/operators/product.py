"""Define a product with a constant weight, with the norm, bias, activation, gate and residual around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from tvm import relax

from harness.compiler.graph.graph import Array, Graph, extents, is_float32
from harness.compiler.kernels.product import Product, pack_product, product_kernel
from harness.compiler.operators.norm import NormMatch, match_norm
from harness.compiler.operators.operator import Dims, FusedOperator, Lowering, Match, OpTable, array

ACTIVATION_OPS = {
    "relax.nn.gelu_tanh": "gelu_tanh",
    "relax.nn.gelu": "gelu",
    "relax.nn.silu": "silu",
    "relax.nn.relu": "relu",
}


@dataclass(frozen=True)
class ProductOp(FusedOperator):
    """Arguments: x, residual (if any), gain and shift (of a norm), weight [K, N], bias [N] (if any)."""

    takes_int4: ClassVar[bool] = True

    product: Product

    @classmethod
    def match(cls, graph: Graph, value: Any, table: OpTable) -> Match | None:
        found = match_linear(graph, value)
        if found is None:
            return None
        args = [found.x, *([found.residual] if found.residual is not None else []), *found.norm_args, found.weight]
        if found.bias is not None:
            args.append(found.bias)
        return Match(cls(found.product), tuple(args), value.ty)

    def lower(self, args: list[Any], call: Any, lowering: Lowering) -> relax.Expr:
        product = self.product
        leading = Dims().of(args[0])[:-1]
        kernel, form = product_kernel(
            lowering.profile,
            lowering.precision,
            product,
            leading,
            wide_activations=lowering.wide_activations,
            shared=lowering.shared_panels,
            group=lowering.int4_group,
        )
        activations = 2 if product.residual else 1
        norms = {None: 0, "rms": 1, "layer": 2}[product.norm]
        weight = lowering.rounded(array(args[activations + norms]))
        bias = array(args[-1]) if product.bias else None
        arrays = pack_product(product, weight, bias, form)
        lowering.packed(product, array(args[activations + norms]), arrays, form)
        packed = [relax.const(packed) for packed in arrays]
        return lowering.call(kernel, [*args[: activations + norms], *packed], call.ty)


@dataclass(frozen=True)
class Linear:
    """Hold a product found in a graph: residual + activation(norm(x) weight + bias).

    It may have the gated form of :mod:`harness.compiler.kernels.product`.
    """

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


def match_linear(graph: Graph, value: Any) -> Linear | None:
    """Find the largest product of our form that ends in ``value``."""
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
    """Find activation(x A) * (x B)."""
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
    x = _behind_silu(graph, value)
    if x is not None:
        inner = _biased(graph, x)
        return None if inner is None else replace(inner, activation="silu")
    call = graph.call(value, *ACTIVATION_OPS)
    if call is None:
        return _biased(graph, value)
    inner = _biased(graph, call.args[0]) if graph.uses(call.args[0]) == 1 else None
    return None if inner is None else replace(inner, activation=ACTIVATION_OPS[call.op.name])


def _behind_silu(graph: Graph, value: Any) -> Any:
    """Return x of x * sigmoid(x), into which torch decomposes silu; None if it is something else."""
    call = graph.call(value, "relax.multiply")
    if call is None:
        return None
    for x, other in (call.args, call.args[::-1]):
        sigmoid = graph.call(other, "relax.sigmoid")
        if sigmoid is not None and sigmoid.args[0].same_as(x) and graph.uses(x) == 2 and graph.uses(other) == 1:
            return x
    return None


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
    """Find norm(x) W, or x W."""
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
    """Return whether products read the same rows, so that one product can have all their columns."""
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
    """Return one product with the columns of all parts, in their order."""
    biases = [part.bias for part in parts if part.bias is not None]
    return replace(
        parts[0],
        weight=np.concatenate([part.weight for part in parts], axis=1),
        bias=np.concatenate(biases) if biases else None,
    )
