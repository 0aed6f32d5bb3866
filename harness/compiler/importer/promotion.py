"""Import arithmetic on numbers of different types, with torch's rules.

TVM 0.27's importer computes in the type of an operator's first tensor, so half of an integer would be an integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import SymInt, Tensor, fx
from tvm import relax

from harness.compiler.errors import UnsupportedOperator
from harness.compiler.importer.indexing import number
from harness.compiler.importer.unsupported import BoundConverter, operator_name, place

ARITHMETIC = frozenset(
    {
        *("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "clamp", "clamp_min", "clamp_max", "fmod"),
        *("remainder", "atan2", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt"),
        *("rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sigmoid", "erf"),
    }
)
"""Operators that convert all their tensors to the result's type before they compute."""


def promoted(converters: Mapping[str, BoundConverter]) -> dict[str, BoundConverter]:
    """Return importer entries that convert the arguments of arithmetic to the result's type.

    They raise UnsupportedOperator if TVM makes an integer of a result that is a fraction for torch, or the reverse.
    """
    return {name: _promoted(convert) for name, convert in converters.items()}


def _promoted(convert: BoundConverter) -> BoundConverter:
    def call(node: fx.Node, importer: Any) -> Any:
        wanted = node.meta.get("val")
        before: dict[fx.Node, Any] = {}
        if isinstance(wanted, Tensor) and operator_name(node).partition(".")[0] in ARITHMETIC:
            for argument in node.all_input_nodes:
                given = argument.meta.get("val")
                if isinstance(given, SymInt) or (isinstance(given, Tensor) and given.dtype != wanted.dtype):
                    value = before[argument] = importer.env[argument]
                    if isinstance(given, SymInt):
                        value = number(importer.block_builder, value)
                    importer.env[argument] = importer.block_builder.emit(relax.op.astype(value, _name(wanted)))
        try:
            result = convert(node, importer)
        finally:
            importer.env.update(before)
        _check(node, wanted, result)
        return result

    return call


def _check(node: fx.Node, wanted: Any, result: Any) -> None:
    made = getattr(getattr(result, "ty", None), "dtype", None)
    if not isinstance(wanted, Tensor) or made is None:
        return
    if wanted.is_floating_point() != str(made).startswith(("float", "bfloat")):
        raise UnsupportedOperator(f"TVM makes {made} of {place(node)}, torch {_name(wanted)}")


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
