"""FoldArithmetic: compute constants of constants by numpy, such as a batch norm's scale, a weight's norm or its layout.

Patterns see only weights that are constants by then. TVM's FoldConstant comes after them, and compiles a function for
each of them. For models of convolutions, that is most of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.graph.graph import is_constant, op_name, rewrite_functions

IMAGE = 4
"""The axes of an image. Transposed matrices are left as they are, since patterns look for them."""

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
    "relax.power": np.power,
}
_UNARY: dict[str, Callable[[Any], Any]] = {
    "relax.sqrt": np.sqrt,
    "relax.rsqrt": lambda x: np.asarray(1, x.dtype) / np.sqrt(x),
    "relax.negative": np.negative,
}
_REDUCED: dict[str, Callable[..., Any]] = {"relax.sum": np.sum, "relax.max": np.max}


def folded(call: Any, args: list[Any]) -> Any:
    """Return the call's value for these arrays; None for an operator that is not folded."""
    name = op_name(call)
    if name in _BINARY and all(array.dtype == np.float32 for array in args):
        return _BINARY[name](*args)
    if name in _UNARY and args[0].dtype == np.float32:
        return _UNARY[name](args[0])
    if name in _REDUCED and args[0].dtype == np.float32:
        axes = call.attrs.axis
        chosen = None if axes is None else tuple(int(axis) for axis in axes)
        return _REDUCED[name](args[0], axis=chosen, keepdims=bool(call.attrs.keepdims))
    if name == "relax.permute_dims" and args[0].ndim == IMAGE and call.attrs.axes is not None:
        return args[0].transpose([int(axis) for axis in call.attrs.axes])
    shape = getattr(call.ty, "shape", None)
    if name in ("relax.reshape", "relax.expand_dims") and shape is not None:
        return args[0].reshape([int(extent) for extent in shape.values])
    return None


@mutator
class _Fold(PyExprMutator):  # type: ignore[misc]
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if not isinstance(call, relax.Call):
            return call
        tensors = [arg for arg in call.args if not isinstance(arg, relax.ShapeExpr)]
        values = [self._constant(arg) for arg in tensors]
        if not values or any(value is None for value in values):
            return call
        result = folded(call, values)
        if result is None:
            return call
        # Without a type, relax.const makes 32 bits of 64.
        return relax.const(np.asarray(result, order="C"), str(result.dtype))

    def _constant(self, value: Any) -> Any:
        while isinstance(value, relax.Var):
            value = self.lookup_binding(value)
        return value.value.numpy() if value is not None and is_constant(value) else None


@tvm.transform.module_pass(opt_level=0, name="FoldArithmetic")
class FoldArithmetic:
    """Fold in every Relax function."""

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        return rewrite_functions(module, _Fold(module).visit_expr)
