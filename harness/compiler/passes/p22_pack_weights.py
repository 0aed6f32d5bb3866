"""PackWeights: lower every fused operator to a call of a kernel, with weights in the kernel's own layout.

Weights are packed here, in numpy, so that no layout operation is left in the graph. For int8, each layer's usual
inputs decide how its weights are rounded and how many bits its activations keep; layers that are kept wide become
float16.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.graph.graph import Array, rewrite_functions
from harness.compiler.kernels.formats import Format
from harness.compiler.kernels.kernel import Kernel
from harness.compiler.kernels.product import Product
from harness.compiler.kernels.rounding import WIDE_CREST, LayerInputs, compensated
from harness.compiler.kernels.unpacking import departure, steps_of, unpack_product
from harness.compiler.observe.provenance import Operator
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality, StoredWeight
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.targets.profiles import Profile


@mutator
class _PackWeights(PyExprMutator):  # type: ignore[misc]
    def __init__(
        self,
        module: tvm.IRModule,
        profile: Profile,
        quality: Quality,
        ops: OpTable,
        table: KernelTable,
        shared_panels: bool,
    ) -> None:
        super().__init__()
        self.shared_panels, self.int4_group = shared_panels, quality.int4_group
        self.module, self.profile, self.quality, self.ops, self.table = module, profile, quality, ops, table
        self.precision, self.wide_activations = quality.precision, False
        self._inputs: LayerInputs | None = None
        self._layers: list[Operator] = []

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        found = self.ops.read(call)
        if found is None:
            return call
        op, args = found
        layers = self._layers = self.ops.layers(call)
        self.precision = self.quality.of(layers)
        if self.precision == "int4" and not op.takes_int4:
            self.precision = "int8"
        self._inputs = self.quality.calibration.of(one.name for one in layers) if self.precision == "int8" else None
        self.wide_activations = self._inputs is not None and self._inputs.crest > WIDE_CREST
        if any(one.name in self.quality.calibration.scales for one in layers):
            # The model itself has steps for weights, and for activations, which the kernel must not round again.
            self.precision, self.wide_activations = "int8", True
        return op.lower(args, call, self)

    # The methods of operators.operator.Lowering.

    def rounded(self, weight: Array) -> Array:
        return weight if self._inputs is None else compensated(weight, self._inputs)

    def packed(self, product: Product, weight: Array, arrays: list[Array], form: Format) -> None:
        if self.quality.precision != "fp32":
            stored = unpack_product(product, arrays, form)
            error = departure(weight, stored, form, self._inputs)
            kept = stored if self.quality.keep_weights else stored[:0]
            self.quality.stored.append(
                StoredWeight(self.precision, steps_of(form, len(weight)), tuple(self._layers), error, kept)
            )

    def emit(self, expression: Any) -> Any:
        return self.builder_.emit(expression)

    def call(self, kernel: Kernel, args: list[Any], ty: Any, in_place: list[int] | None = None) -> relax.Expr:
        function = self.table.add(self.module, kernel)
        if in_place is None:
            return relax.call_tir(function, args, ty)
        return relax.op.call_tir_inplace(function, args, in_place, ty)


@tvm.transform.module_pass(opt_level=0, name="PackWeights")
class PackWeights:
    """Lower the operators of ``ops``. Their kernels go into ``table``."""

    def __init__(
        self, profile: Profile, quality: Quality, ops: OpTable, table: KernelTable, *, shared_panels: bool = False
    ) -> None:
        self.profile, self.quality, self.ops, self.table = profile, quality, ops, table
        self.shared_panels = shared_panels

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        rewriter = _PackWeights(module, self.profile, self.quality, self.ops, self.table, self.shared_panels)
        return rewrite_functions(
            module, lambda function: relax.analysis.remove_all_unused(rewriter.visit_expr(function))
        )
