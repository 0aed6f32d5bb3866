"""Import arithmetic on numbers of different types, with torch's rules.

TVM 0.27's importer computes in the type of an operator's first tensor, so half of an integer would be an integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import SymInt, Tensor, fx
from tvm import relax

from harness.compiler.errors import UnsupportedOperator
from harness.compiler.graph.graph import extents
from harness.compiler.importer.complexes import FORMS, LAYOUT, touches_complex
from harness.compiler.importer.edges import at_edges
from harness.compiler.importer.fourier import TRANSFORMS
from harness.compiler.importer.indexing import number
from harness.compiler.importer.unsupported import BoundConverter, operator_name, place

ARITHMETIC = frozenset(
    {
        *("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "clamp", "clamp_min", "clamp_max", "fmod"),
        *("remainder", "atan2", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt"),
        *("rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sigmoid", "erf"),
        *("asinh", "acosh", "atanh", "floor_divide", "bitwise_and", "bitwise_or", "bitwise_xor", "logaddexp"),
        *("sum", "mean", "prod", "cumsum", "cumprod", "cat", "stack", "addmm", "baddbmm", "lerp"),
    }
)
"""Operators that convert all their tensors to the result's type before they compute."""
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
"""Operators that convert both sides to the type that holds both."""
CHOICES = frozenset({"where"})
"""Operators that convert all tensors but the first, which is a condition, to the result's type."""
OF_COMPLEX = frozenset({*FORMS, *LAYOUT, *TRANSFORMS})


def promoted(converters: Mapping[str, BoundConverter]) -> dict[str, BoundConverter]:
    """Return importer entries that convert the arguments of arithmetic to the result's type.

    They raise UnsupportedOperator if TVM makes an integer of a result that is a fraction for torch, or the reverse, or
    a tensor of another shape.
    """
    return {name: _promoted(at_edges(convert)) for name, convert in converters.items()}


def _promoted(convert: BoundConverter) -> BoundConverter:
    def call(node: fx.Node, importer: Any) -> Any:
        if touches_complex(node) and operator_name(node) not in OF_COMPLEX:
            raise UnsupportedOperator(f"there is no form of {place(node)} for complex numbers")
        before: dict[fx.Node, Any] = {}
        for argument, kind in _conversions(node):
            value = before[argument] = importer.env[argument]
            if isinstance(argument.meta.get("val"), SymInt):
                value = number(importer.block_builder, value)
            importer.env[argument] = importer.block_builder.emit(relax.op.astype(value, _name(kind)))
        try:
            result = convert(node, importer)
        finally:
            importer.env.update(before)
        return _checked(node, importer, result)

    return call


def _conversions(node: fx.Node) -> Iterator[tuple[fx.Node, torch.dtype]]:
    """Yield the arguments that have to be converted before the operator computes, each with its new type."""
    name, result = operator_name(node).partition(".")[0], node.meta.get("val")
    if not isinstance(result, Tensor) or result.is_complex() or getattr(node.target, "namespace", "") != "aten":
        return
    if name in COMPARISONS:
        sides = [argument.meta.get("val") if isinstance(argument, fx.Node) else argument for argument in node.args[:2]]
        wanted, arguments = _common(*sides), list(node.all_input_nodes)
        # TVM compares no truth values.
        wanted = torch.int8 if wanted == torch.bool else wanted
    elif name in CHOICES:
        wanted, arguments = result.dtype, [one for one in node.args[1:] if isinstance(one, fx.Node)]
    elif name in ARITHMETIC:
        wanted, arguments = result.dtype, list(node.all_input_nodes)
    else:
        return
    for argument in dict.fromkeys(arguments):
        given = argument.meta.get("val")
        if isinstance(given, SymInt) or (isinstance(given, Tensor) and given.dtype != wanted):
            yield argument, wanted


def _common(one: Any, other: Any) -> torch.dtype:
    """Return the type in which torch compares two tensors, or a tensor and a number."""
    first, second = (_alike(side) for side in (one, other))
    return torch.result_type(first, second)


def _alike(side: Any) -> Any:
    """Return something of the side's type for torch: a small tensor with as many axes, or a number."""
    if isinstance(side, Tensor):
        return torch.empty([1] * side.ndim, dtype=side.dtype)
    return 0 if isinstance(side, SymInt) else side


def _checked(node: fx.Node, importer: Any, result: Any) -> Any:
    """Return the result in torch's type. Raises UnsupportedOperator if it is not what torch makes."""
    wanted = node.meta.get("val")
    made = getattr(getattr(result, "ty", None), "dtype", None)
    if not isinstance(wanted, Tensor) or made is None:
        return result
    shape = extents(result)
    if shape is not None and (
        len(shape) != wanted.ndim
        or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(shape, wanted.shape, strict=True))
    ):
        raise UnsupportedOperator(f"TVM makes the shape {list(shape)} of {place(node)}, torch {list(wanted.shape)}")
    name = _name(wanted.dtype)
    if str(made) == name:
        return result
    if _kind(str(made)) != _kind(name):
        raise UnsupportedOperator(f"TVM makes {made} of {place(node)}, torch {name}")
    return importer.block_builder.emit(relax.op.astype(result, name))


def _kind(name: str) -> str:
    return "bool" if name == "bool" else "fraction" if name.startswith(("float", "bfloat")) else "integer"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
