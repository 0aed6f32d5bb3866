"""HandOnNaN: largest and smallest elements of functions without a template are NaN where one of them is, as in torch.

TVM's maximum is ``a > b ? a : b``, which loses a NaN in ``a``. With a constant in its place nothing is lost, so most
of them cost nothing. Reductions also begin at infinity instead of at the largest finite number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import tvm
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm_ffi import structural_equal, structural_map, structural_walk

FINITE = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}
"""The largest numbers, at which TVM's reductions begin."""


@tvm.transform.module_pass(opt_level=0, name="HandOnNaN")
class HandOnNaN:
    """Change every S-TIR function except those named in ``done``. Runs after ScheduleRest, which needs TVM's forms."""

    def __init__(self, done: Collection[str] = ()) -> None:
        self.done = done

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc) and name.name_hint not in self.done:
                body = _handed_on(function.body)
                if not body.same_as(function.body):
                    module.update_func(name, function.with_body(body))
        return module


def _handed_on(body: Any) -> Any:
    extremes: list[Any] = []
    structural_walk(body, ((tirx.Max, tirx.Min, tirx.Select), extremes.append))
    body = structural_map(body, list(FORMS.items()))
    return structural_map(body, (tirx.BufferStore, _begun)) if any(map(_is_extreme, extremes)) else body


def _is_extreme(node: Any) -> bool:
    """Return whether a node is the larger or the smaller of two fractions."""
    if isinstance(node, tirx.Max | tirx.Min):
        return _is_fraction(node)
    return (
        isinstance(node.condition, tirx.GT | tirx.LT)
        and _is_fraction(node)
        and structural_equal(node.condition.a, node.true_value)
        and structural_equal(node.condition.b, node.false_value)
    )


def _extreme(node: Any) -> Any:
    """Return the larger or smaller of two numbers, or the one that is NaN."""
    if not _is_fraction(node) or _is_number(node.a):
        return node
    return type(node)(node.b, node.a) if _is_number(node.b) else _both(node)


def _both(node: Any) -> Any:
    """Return the second number if it is NaN, else what is right if only the first one may be."""
    if isinstance(node.b, TensorLoad | tirx.Var):
        return tirx.Select(tirx.isnan(node.b), node.b, type(node)(node.b, node.a))
    other = tirx.Var("other", node.b.ty)
    return tirx.Let(other, node.b, tirx.Select(tirx.isnan(other), other, type(node)(other, node.a)))


def _chosen(node: Any) -> Any:
    """Keep NaN in ``a > b ? a : b``, which is how the largest element is found beside its place."""
    if not _is_extreme(node):
        return node
    return tirx.Select(tirx.Or(node.condition, tirx.isnan(node.true_value)), node.true_value, node.false_value)


def _unequal(node: Any) -> Any:
    """Return True where one side is NaN. LLVM's comparison that TVM takes is false there."""
    if not _is_fraction(node.a):
        return node
    broken = [tirx.isnan(side) for side in (node.a, node.b) if not _is_number(side)]
    for one in broken:
        node = tirx.Or(node, one)
    return node


def _place(node: Any) -> Any:
    """Prefer NaN where places of the largest or smallest element are compared: ``a > b or (a == b and i < j)``."""
    apart, tie = node.a, node.b
    if not isinstance(apart, tirx.GT | tirx.LT) or not isinstance(tie, tirx.And) or not isinstance(tie.a, tirx.EQ):
        return node
    one, other = apart.a, apart.b
    if not _is_fraction(one):
        return node
    ahead = tirx.And(tirx.isnan(one), tirx.Not(tirx.isnan(other)))
    same = tirx.And(tirx.isnan(one), tirx.isnan(other))
    return tirx.Or(tirx.Or(apart, ahead), tirx.And(tirx.Or(tie.a, same), tie.b))


def _begun(store: Any) -> Any:
    most = FINITE.get(str(store.value.ty.dtype))
    if most is None or not isinstance(store.value, tirx.FloatImm) or abs(store.value.value) != most:
        return store
    infinity = tirx.const(float("inf") if store.value.value > 0 else float("-inf"), str(store.value.ty.dtype))
    return tirx.BufferStore(store.buffer, infinity, store.indices)


FORMS: dict[Any, Callable[[Any], Any]] = {
    tirx.Max: _extreme,
    tirx.Min: _extreme,
    tirx.Select: _chosen,
    tirx.NE: _unequal,
    tirx.Or: _place,
}
"""What the nodes of a kind become."""


def _is_fraction(value: Any) -> bool:
    return str(value.ty.dtype).startswith(("float", "bfloat"))


def _is_number(value: Any) -> bool:
    return isinstance(value, tirx.FloatImm) or (isinstance(value, tirx.Broadcast) and _is_number(value.value))
