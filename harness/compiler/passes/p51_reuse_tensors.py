"""ReuseTensors: save allocations by the virtual machine, for which kernels of microseconds would wait."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm_ffi import structural_equal

from harness.compiler.graph.graph import op_name, rewrite_functions

ALLOCATION = "relax.memory.alloc_tensor"


@tvm.transform.module_pass(opt_level=0, name="ReuseTensors")
class ReuseTensors:
    """Make one tensor of all tensors of one shape and type that TVM's memory plan puts into one place.

    Their lives do not overlap, or the plan would have kept them apart. A layer's intermediate values have the shapes of
    the layer before, so a model of many layers makes each shape once. Runs after StaticPlanBlockMemory and before the
    passes that end a tensor's life after its last use.
    """

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        return rewrite_functions(module, lambda function: _ReuseTensors(module).visit_expr(function))


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
