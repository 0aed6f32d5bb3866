"""Read a Relax function as a graph for patterns: what defines a value, how often it is used, what is constant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

Array = npt.NDArray[Any]


def op_name(expression: Any) -> str:
    """Return the operator that a call calls; empty for anything else."""
    return str(getattr(expression.op, "name", "")) if isinstance(expression, relax.Call) else ""


def is_constant(expression: Any) -> bool:
    return isinstance(expression, tvm.ir.expr.GenericConst) and hasattr(expression.value, "numpy")


def static_shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor whose extents are all known."""
    shape = extents(value)
    return None if shape is None or not all(isinstance(e, int) for e in shape) else tuple(int(e) for e in shape)


def extents(value: Any) -> tuple[Any, ...] | None:
    """Return a tensor's extents: ints, or TIR's expressions if they are known only when the function runs."""
    shape = getattr(getattr(value, "ty", None), "shape", None)
    if shape is None or not hasattr(shape, "values"):
        return None
    return tuple(int(e) if isinstance(e, tvm.tirx.IntImm) else e for e in shape.values)


def is_float32(value: Any) -> bool:
    return str(getattr(value.ty, "dtype", "")) == "float32"


class Graph:
    """Hold the bindings of a function with one dataflow block, in order."""

    def __init__(self, function: relax.Function) -> None:
        body = function.body
        self.function = function
        self.bindings = [binding for block in body.blocks for binding in block.bindings]
        self.definitions = {binding.var: binding.value for binding in self.bindings}
        self.result: Any = body.body
        self._uses: Counter[Any] = Counter()
        for binding in self.bindings:
            self._count(binding.value)
        self._count(self.result)
        self._tuples: dict[Any, list[Any]] = {}
        """Of a value, the bindings of the tuples that it is a field of."""
        for binding in self.bindings:
            if isinstance(binding.value, relax.Tuple):
                for field in {field for field in binding.value.fields if is_variable(field)}:
                    self._tuples.setdefault(field, []).append(binding)

    def _count(self, expression: Any) -> None:
        for var in arguments(expression):
            self._uses[var] += 1

    def uses(self, var: Any) -> int:
        return self._uses[var]

    def tuples(self, var: Any) -> Sequence[Any]:
        """Return the bindings of the tuples that the value is a field of, in their order."""
        return self._tuples.get(var, ())

    def definition(self, value: Any) -> Any:
        """Return the expression to which a variable is bound; the value itself if it is not a bound variable."""
        while is_variable(value) and value in self.definitions:
            value = self.definitions[value]
        return value

    def call(self, value: Any, *names: str) -> relax.Call | None:
        """Return the call of one of the operators ``names`` that defines the value."""
        found = self.definition(value)
        return found if op_name(found) in names else None

    def constant(self, value: Any) -> Array | None:
        """Return the array of a constant value, also through layout operations."""
        expression = self.definition(value)
        if is_constant(expression):
            return np.asarray(expression.value.numpy())
        name = op_name(expression)
        if name not in ("relax.permute_dims", "relax.reshape", "relax.astype"):
            return None
        inner = self.constant(expression.args[0])
        if inner is None:
            return None
        if name == "relax.permute_dims":
            axes = expression.attrs.axes
            return inner.transpose(None if axes is None else [int(axis) for axis in axes])
        if name == "relax.astype":
            return inner.astype(str(expression.ty.dtype))
        shape = static_shape(expression)
        return None if shape is None else inner.reshape(shape)

    def is_fixed(self, value: Any) -> bool:
        """Return whether a value is computed from constants alone and so the same in every call. TVM folds it."""
        return all(var in self.definitions and self.is_fixed(self.definitions[var]) for var in arguments(value))

    def scalar(self, value: Any) -> float | None:
        found = self.constant(value)
        return float(found.reshape(())) if found is not None and found.size == 1 else None


def rewrite_functions(module: tvm.IRModule, rewrite: Callable[[relax.Function], relax.Function]) -> tvm.IRModule:
    """Rewrite every Relax function of the module in place; return the module."""
    for name, function in module.functions_items():
        if isinstance(function, relax.Function):
            module.update_func(name, rewrite(function))
    return module


def is_variable(value: Any) -> TypeGuard[relax.Var]:
    return isinstance(value, relax.Var)


def arguments(expression: Any) -> list[Any]:
    """Return the variables that an expression reads."""
    if is_variable(expression):
        return [expression]
    found: list[Any] = []

    def visit(node: Any) -> None:
        if is_variable(node):
            found.append(node)

    relax.analysis.post_order_visit(expression, visit)
    return found


def renamed(expression: Any, new: dict[Any, Any]) -> Any:
    """Return the expression with variables replaced."""
    return new.get(expression, expression) if is_variable(expression) else _Rename(new).visit_expr(expression)


@mutator
class _Rename(PyExprMutator):  # type: ignore[misc]
    def __init__(self, new: dict[Any, Any]) -> None:
        super().__init__()
        self.new = new

    def visit_var_(self, var: relax.Var) -> relax.Expr:
        return self.new.get(var, var)

    def visit_dataflow_var_(self, var: relax.DataflowVar) -> relax.Expr:
        return self.new.get(var, var)
