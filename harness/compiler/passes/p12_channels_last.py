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

from harness.compiler.graph.graph import Graph, extents, is_variable, op_name, rewrite_functions
from harness.compiler.graph.origins import Origins

TURNED = {"relax.nn.conv1d": ["NWC", "WIO"], "relax.nn.conv2d": ["NHWC", "HWIO"]}
LAYOUTS = ("relax.permute_dims", "relax.layout_transform")
"""The operators that the pass adds between others."""
KEPT = {"relax.nn.conv2d_transpose": ["NCHW", "IOHW"]}
"""Operators that keep torch's layout. TVM 0.27 would change it and then has no lowering for them."""


@tvm.transform.module_pass(opt_level=0, name="ChannelsLast")
class ChannelsLast:
    """Run relax.transform.ConvertLayout on modules with convolutions; where it fails, turn each by itself."""

    def __init__(self, origins: Origins) -> None:
        self.origins = origins

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        functions = [f for _, f in module.functions_items() if isinstance(f, relax.Function)]
        if not any(op_name(b.value) in TURNED for f in functions for b in Graph(f).bindings):
            return module
        rewrite_functions(module, _Plain(module).visit_expr)
        before = {name: Graph(f) for name, f in module.functions_items() if isinstance(f, relax.Function)}
        try:
            converted = relax.transform.ConvertLayout(TURNED | KEPT)(module)
        except tvm.error.InternalError:  # a rule of the pass fails on an operator between them
            converted = rewrite_functions(module, _Turned(module).visit_expr)
        for name, graph in before.items():
            _follow(graph, Graph(converted[name.name_hint]), self.origins, LAYOUTS)
        return relax.transform.DeadCodeElimination()(converted)


@mutator
class _Plain(PyExprMutator):  # type: ignore[misc]
    """Write operators as ConvertLayout's rules of TVM 0.27 take them.

    There is none for clip, so that it would convert back: ReLU6 becomes a maximum and a minimum. Those of squeeze and
    permute_dims fail on axes that are counted from the end, or not given.
    """

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = op_name(call)
        if name == "relax.clip":
            x, *bounds = call.args
            least, most = (relax.const(float(bound.value), str(x.ty.dtype)) for bound in bounds)
            return relax.op.minimum(self.builder_.emit(relax.op.maximum(x, least)), most)
        shape = extents(call.args[0]) if name in ("relax.squeeze", "relax.permute_dims") else None
        if shape is None:
            return call
        if name == "relax.permute_dims":
            axes = call.attrs.axes
            return call if axes is None else relax.op.permute_dims(call.args[0], _from_the_front(axes, len(shape)))
        ones = [at for at, extent in enumerate(shape) if isinstance(extent, int) and extent == 1]
        return relax.op.squeeze(
            call.args[0], ones if call.attrs.axis is None else _from_the_front(call.attrs.axis, len(shape))
        )


def _from_the_front(axes: Any, rank: int) -> list[int]:
    return [int(axis) % rank for axis in axes]


@mutator
class _Turned(PyExprMutator):  # type: ignore[misc]
    """Turn each convolution by itself, between two transpositions. The operators between them stay in torch's order."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = op_name(call)
        if name not in TURNED or str(call.attrs.data_layout) not in ("NCW", "NCHW"):
            return call
        x, weight = call.args
        spatial = list(range(2, len(call.ty.shape.values)))
        there, back = [0, *spatial, 1], [0, spatial[-1], *[axis - 1 for axis in spatial]]
        make = relax.op.nn.conv1d if name == "relax.nn.conv1d" else relax.op.nn.conv2d
        data, kernel = TURNED[name]
        turned = make(
            self.builder_.emit(relax.op.permute_dims(x, there)),
            self.builder_.emit(relax.op.permute_dims(weight, [*spatial, 1, 0])),
            call.attrs.strides,
            call.attrs.padding,
            call.attrs.dilation,
            int(call.attrs.groups),
            data,
            kernel,
        )
        return relax.op.permute_dims(self.builder_.emit(turned), back)


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
