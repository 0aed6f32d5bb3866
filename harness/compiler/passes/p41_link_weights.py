"""LinkWeights: move weights from the graph into the archive's read-only data, which every function shares.

A constant of a Relax function would be copied when a model is loaded. Linked weights are pages of the executable: all
functions share them, they are read on first use, and dropped under memory pressure.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.graph.graph import Graph, is_constant, rewrite_functions
from harness.compiler.objects import WeightFile
from harness.compiler.passes.kernel_table import KernelTable


@mutator
class _LinkWeights(PyExprMutator):  # type: ignore[misc]
    def __init__(self, module: tvm.IRModule, table: KernelTable, weights: WeightFile) -> None:
        super().__init__()
        self.module, self.table, self.weights = module, table, weights

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        kernel = self.table.of(call)
        if kernel is None:
            return super().visit_call_(call)
        linked = {}
        args = []
        for param, arg in zip(kernel.params, call.args[1].fields, strict=False):
            if param.role == "weight" and not is_constant(arg):
                return super().visit_call_(call)
            if param.role == "weight":
                offset = self.weights.add(arg.value.numpy())
                linked[param.name] = offset
                arg = tvm.tirx.IntImm("int64", offset)
            args.append(arg)
        if not linked:
            return super().visit_call_(call)
        function = self.table.add(self.module, kernel, self.weights.symbol)
        return super().visit_call_(relax.Call(call.op, [function, relax.Tuple(args)], call.attrs, call.ty_args))


@tvm.transform.module_pass(opt_level=0, name="LinkWeights")
class LinkWeights:
    """Move the weights of our kernels' calls into ``weights``."""

    def __init__(self, table: KernelTable, weights: WeightFile) -> None:
        self.table, self.weights = table, weights

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        rewrite_functions(module, _LinkWeights(module, self.table, self.weights).visit_expr)
        self._drop_replaced(module)
        return module

    def _drop_replaced(self, module: tvm.IRModule) -> None:
        """Remove the kernels that got their weights as arguments. TVM keeps every function with a symbol."""
        called = {
            binding.value.args[0].name_hint
            for function in module.functions.values()
            if isinstance(function, relax.Function)
            for binding in Graph(function).bindings
            if self.table.of(binding.value) is not None
        }
        for name in module.get_global_vars():
            if name.name_hint in self.table.kernels and name.name_hint not in called:
                del module[name]
