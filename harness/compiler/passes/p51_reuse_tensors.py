"""Less work for the virtual machine between kernels: what a kernel of microseconds would wait for at every call."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm_ffi import structural_equal

from harness.compiler.graph.graph import op_name
from harness.compiler.passes.kernel_table import KernelTable

ALLOCATION = "relax.memory.alloc_tensor"
CHECKS = ("vm.builtin.check_tensor_info", "vm.builtin.match_shape")


@tvm.transform.module_pass(opt_level=0, name="ReuseTensors")
class ReuseTensors:
    """Tensors that TVM's memory plan puts into the same place with the same shape and type become one tensor.

    Their lives do not overlap, or the plan would have kept them apart. A layer's intermediate values have the shapes
    of the layer before, so that a model of many layers makes each shape once. To be run behind
    StaticPlanBlockMemory, before what ends a tensor's life after its last use.
    """

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                module.update_func(name, _ReuseTensors(module).visit_expr(function))
        return module


@mutator
class _ReuseTensors(PyExprMutator):  # type: ignore[misc]
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.known: list[tuple[relax.Call, Any]] = []

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if op_name(binding.value) != ALLOCATION:
            super().visit_var_binding_(binding)
            return
        value = self.visit_expr(binding.value)
        known = next((var for call, var in self.known if structural_equal(call, value)), None)
        if known is None:
            known = self.builder_.emit(value)
            self.known.append((value, known))
        self.set_var_remap(binding.var, known)


@tvm.transform.module_pass(opt_level=0, name="TrustKernels")
class TrustKernels:
    """Where all that a function does is to call one kernel of static shapes, the kernel checks its arguments and the
    virtual machine need not do it before. To be run behind VMShapeLower."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, relax.Function) and self._is_one_kernel(function):
                module.update_func(name, _DropChecks(module).visit_expr(function))
        return module

    def _is_one_kernel(self, function: relax.Function) -> bool:
        """Whether every parameter goes to the only kernel there is."""
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
    """The name of the function that a lowered call calls."""
    if not isinstance(expression, relax.Call):
        return ""
    if isinstance(expression.op, relax.ExternFunc):
        return str(expression.op.global_symbol)
    return str(getattr(expression.op, "name_hint", ""))
