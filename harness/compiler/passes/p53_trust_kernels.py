"""TrustKernels: drop the second check of the arguments that a kernel checks."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.passes.kernel_table import KernelTable

CHECKS = ("vm.builtin.check_tensor_info", "vm.builtin.match_shape")


@tvm.transform.module_pass(opt_level=0, name="TrustKernels")
class TrustKernels:
    """Drop the virtual machine's checks of arguments in functions that only call one kernel of static shapes.

    The kernel checks its arguments itself. Runs after VMShapeLower.
    """

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function) and self._is_one_kernel(function):
                module.update_func(name, _DropChecks(module).visit_expr(function))
        return module

    def _is_one_kernel(self, function: relax.Function) -> bool:
        """Return whether every parameter goes to the only kernel there is."""
        calls = [binding.value for block in function.body.blocks for binding in block.bindings]
        kernels = [call for call in calls if _callee(call) in self.table.kernels]
        if len(kernels) != 1 or not self.table.kernels[_callee(kernels[0])].is_static:
            return False
        given = list(kernels[0].args)
        return all(any(param.same_as(arg) for arg in given) for param in function.params)


@mutator
class _DropChecks(PyExprMutator):  # type: ignore[misc]
    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if _callee(binding.value) not in CHECKS:
            super().visit_var_binding_(binding)


def _callee(expression: Any) -> str:
    """Return the name of the function that a lowered call calls."""
    if not isinstance(expression, relax.Call):
        return ""
    if isinstance(expression.op, relax.ExternFunc):
        return str(expression.op.global_symbol)
    return str(getattr(expression.op, "name_hint", ""))
