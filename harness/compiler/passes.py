"""Relax passes of the compile path: constant weights are packed and multiplied by our own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.kernels.matmul import batch_matmul, pack, packed_matmul, packed_vector_matmul
from harness.compiler.profiles import Profile

F32 = "float32"


@mutator
class _PackWeights(PyExprMutator):  # type: ignore[misc]
    """Replaces ``relax.matmul``; packing happens in numpy, so no layout operation stays in the graph."""

    def __init__(self, module: tvm.IRModule, profile: Profile) -> None:
        super().__init__(module)
        self.profile = profile
        self.kernels: dict[str, Any] = {}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.matmul" or call.ty.dtype != F32:
            return call
        weight = self._weight(call.args[1])
        return self._activations(call) if weight is None else self._packed(call, weight)

    def _packed(self, call: relax.Call, weight: npt.NDArray[np.float32]) -> relax.Expr:
        x = self._emitted(call.args[0])
        if len(x.ty.shape.values) != 2:
            return call
        rows = x.ty.shape.values[0]
        depth, width = weight.shape
        one_row = isinstance(rows, tvm.tirx.IntImm) and int(rows) == 1
        make = packed_vector_matmul if one_row else packed_matmul
        columns = self.profile.vector_columns if one_row else self.profile.columns
        kernel = self._kernel(f"{make.__name__}_{depth}_{width}", lambda: make(self.profile, depth, width))
        panels = relax.const(pack(weight, columns))
        return relax.call_tir(kernel, [x, panels], relax.TensorType((rows, width), F32))

    def _activations(self, call: relax.Call) -> relax.Expr:
        a, b = (self._emitted(argument) for argument in call.args)
        if len(a.ty.shape.values) != 3 or len(b.ty.shape.values) != 3:
            return call
        kernel = self._kernel("batch_matmul", batch_matmul)
        return relax.call_tir(kernel, [a, b], relax.TensorType(call.ty.shape.values, F32))

    def _kernel(self, name: str, make: Any) -> Any:
        if name not in self.kernels:
            self.kernels[name] = self.builder_.add_func(make(), name)
        return self.kernels[name]

    def _emitted(self, expression: relax.Expr) -> relax.Expr:
        return expression if isinstance(expression, relax.Var) else self.builder_.emit(expression)

    def _weight(self, expression: relax.Expr) -> npt.NDArray[np.float32] | None:
        """The float32 matrix [K, N] that the expression stands for, looking through bindings and transposes."""
        if isinstance(expression, relax.Var):
            binding = self.lookup_binding(expression)
            expression = expression if binding is None else binding
        if isinstance(expression, tvm.ir.expr.GenericConst) and hasattr(expression.value, "numpy"):
            value = expression.value.numpy()
            return value if value.ndim == 2 and value.dtype == np.float32 else None
        if isinstance(expression, relax.Call) and getattr(expression.op, "name", "") == "relax.permute_dims":
            inner = self._weight(expression.args[0])
            return None if inner is None else np.ascontiguousarray(inner.T)
        return None


@tvm.transform.module_pass(opt_level=0, name="PackWeights")
class PackWeights:
    """Every product with a constant matrix becomes a packed kernel, every batched product our own loop nest."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        rewriter = _PackWeights(module, self.profile)
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                rewritten = relax.analysis.remove_all_unused(rewriter.visit_expr(function))
                rewriter.builder_.update_func(name, rewritten)
        return rewriter.builder_.get()


def pipeline(target: tvm.target.Target, profile: Profile) -> tvm.transform.Pass:
    """Our passes, then TVM's default lowering for a CPU."""
    t = relax.transform

    @tvm.transform.module_pass(opt_level=0, name="HarnessPipeline")
    def run(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        passes = [
            PackWeights(profile),
            t.LegalizeOps(),
            t.AnnotateTIROpPattern(),
            t.FoldConstant(),
            t.FuseOps(),
            t.FuseTIR(),
            t.RewriteDataflowReshape(),
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
            t.StaticPlanBlockMemory(),
            t.LowerAllocTensor(),
            t.KillAfterLastUse(),
            t.LowerRuntimeBuiltin(),
            t.ComputePrimValue(),
            t.VMShapeLower(),
            t.AttachGlobalSymbol(),
        ]
        with target:
            return tvm.transform.Sequential(passes)(module)

    return run
