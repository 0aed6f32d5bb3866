"""SolveExtents: find what an input's extent like 8 n makes of n, for models that take multiples of a number.

TVM's virtual machine takes the value of a dynamic extent only from an input that has it as it is (TVM 0.27).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.sym import detect_linear_equation

from harness.compiler.graph.graph import extents


@tvm.transform.module_pass(opt_level=0, name="SolveExtents")
class SolveExtents:
    """Give such an input an extent of its own, and begin the function by matching it with what it stands for.

    The virtual machine checks the match, so that an input that is no multiple is an error.
    """

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                module.update_func(name, _solved(function))
        return module


def _solved(function: relax.Function) -> relax.Function:
    known = [extent for param in function.params for extent in extents(param) or () if isinstance(extent, tirx.Var)]
    first: list[Any] = []
    params: list[Any] = []
    for param in function.params:
        shape = list(extents(param) or ())
        solutions = [_solution(extent, known) for extent in shape]
        if not any(solutions):
            params.append(param)
            continue
        wide = [extent if found is None else found[1] for extent, found in zip(shape, solutions, strict=True)]
        given = relax.Var(param.name, relax.TensorType(wide, param.ty.dtype))
        params.append(given)
        for variable, _, value in filter(None, solutions):
            if not any(variable.same_as(one) for one in known):
                known.append(variable)
                computed = relax.Var(f"{variable.name}_computed", relax.ShapeType(ndim=1))
                shown = relax.Var(f"{variable.name}_shape", relax.ShapeType([variable]))
                first.append(relax.VarBinding(computed, relax.ShapeExpr([value])))
                first.append(relax.MatchCast(shown, computed, shown.ty))
        first.append(relax.MatchCast(param, given, param.ty))
    if not first:
        return function
    body = function.body
    blocks = [relax.BindingBlock(first), *body.blocks]
    return relax.Function(params, relax.SeqExpr(blocks, body.body), function.ret_ty, function.is_pure, function.attrs)


def _solution(extent: Any, known: list[Any]) -> tuple[Any, Any, Any] | None:
    """Return the only variable of a linear extent that is not known, a new one for the extent, and the first by it."""
    if isinstance(extent, int | tirx.Var):
        return None
    variables = list(_variables(extent))
    if not variables or any(not one.same_as(variables[0]) for one in variables):
        return None
    [variable, *_] = variables
    found = detect_linear_equation(extent, [variable])
    if len(found) != 2:
        return None
    factor, offset = found
    own = tirx.Var(f"{variable.name}_whole", "int64")
    return variable, own, tirx.floordiv(own - offset, factor)


def _variables(extent: Any) -> Iterator[Any]:
    if isinstance(extent, tirx.Var):
        yield extent
    for side in ("a", "b"):
        if hasattr(extent, side):
            yield from _variables(getattr(extent, side))
