"""ChannelsLast: give convolutions, and the operators between them, their channels as the last axis.

Neighbours in memory are then channels. A convolution or a pool shifts nothing along channels, so vectors of them need
neither gathers nor borders. In torch's order, neighbours are pixels. Weights are transposed when the model is compiled.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.graph.graph import Graph, is_variable, op_name, rewrite_functions
from harness.compiler.graph.origins import Origins

TURNED = {"relax.nn.conv1d": ["NWC", "WIO"], "relax.nn.conv2d": ["NHWC", "HWIO"]}
LAYOUTS = ("relax.permute_dims", "relax.layout_transform")
"""The operators that the pass adds between others."""
KEPT = {"relax.nn.conv2d_transpose": ["NCHW", "IOHW"]}
"""Operators that keep torch's layout. TVM 0.27 would change it and then has no lowering for them."""


@tvm.transform.module_pass(opt_level=0, name="ChannelsLast")
class ChannelsLast:
    """Run relax.transform.ConvertLayout on modules with convolutions. Modules on which it fails stay as they are."""

    def __init__(self, origins: Origins) -> None:
        self.origins = origins

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        functions = [f for _, f in module.functions_items() if isinstance(f, relax.Function)]
        if not any(op_name(b.value) in TURNED for f in functions for b in Graph(f).bindings):
            return module
        rewrite_functions(module, _ClipByBounds(module).visit_expr)
        try:
            before = {name: Graph(f) for name, f in module.functions_items() if isinstance(f, relax.Function)}
            converted = relax.transform.ConvertLayout(TURNED | KEPT)(module)
            for name, graph in before.items():
                _follow(graph, Graph(converted[name.name_hint]), self.origins, LAYOUTS)
        except tvm.error.InternalError:  # an operator between them has no rule for other layouts
            return module
        return relax.transform.DeadCodeElimination()(converted)


@mutator
class _ClipByBounds(PyExprMutator):  # type: ignore[misc]
    """Write ReLU6 as a maximum and a minimum. TVM 0.27 has no rule for the layouts of clip and would convert back."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if op_name(call) != "relax.clip":
            return call
        x, *bounds = call.args
        least, most = (relax.const(float(bound.value), str(x.ty.dtype)) for bound in bounds)
        return relax.op.minimum(self.builder_.emit(relax.op.maximum(x, least)), most)


def _follow(before: Graph, after: Graph, origins: Origins, added: Collection[str]) -> None:
    """Note the origins of the variables after a pass that only added operators ``added`` between others."""
    old, new = ([b for b in graph.bindings if _computes(b.value, added)] for graph in (before, after))
    if [op_name(b.value) for b in old] != [op_name(b.value) for b in new]:
        return
    for one, other in zip(old, new, strict=True):
        if not origins.of(other.var).operators:
            origins.note(other.var, origins.of(one.var))


def _computes(value: Any, added: Collection[str]) -> bool:
    return not is_variable(value) and op_name(value) not in added
