"""RecordSites: list the calls of kernels that a function makes, in their order, with their origins."""

from __future__ import annotations

from typing import Any

import tvm

from harness.compiler.graph.graph import Graph, op_name
from harness.compiler.graph.origins import Origin, completed, result_origin
from harness.compiler.kernels.cost import Cost
from harness.compiler.kernels.instrument import part_name
from harness.compiler.kernels.kernel import Kernel, Symbols
from harness.compiler.observe.provenance import Site, Work
from harness.compiler.passes.kernel_table import KernelTable

CALLS = ("relax.call_tir", "relax.call_tir_inplace")


@tvm.transform.module_pass(opt_level=0, name="RecordSites")
class RecordSites:
    """Fill ``sites``.

    Runs before ToNonDataflow. Later passes keep the order and add no kernels except those that compute shapes.
    """

    def __init__(self, table: KernelTable, sites: list[Site]) -> None:
        self.table, self.sites = table, sites

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        graph = Graph(module["main"])
        known = completed(graph, self.table.origins)
        for binding in graph.bindings:
            if op_name(binding.value) in CALLS:
                name = str(binding.value.args[0].name_hint)
                self.sites.append(self._site(name, result_origin(graph, binding.var, known)))
        return module

    def _site(self, name: str, origin: Origin) -> Site:
        kernel = self.table.kernels.get(name)
        if kernel is None:
            _, cost = self.table.costs[name]
            return self._described(name, name, cost, origin, [])
        parts = [
            self._described(part.kernel.name, part_name(kernel.name, at), _cost(part.kernel), part.origin, [])
            for at, part in enumerate(self.table.parts.get(kernel.name, []))
        ]
        return self._described(kernel.name, kernel.name, _cost(kernel), origin, parts)

    def _described(self, name: str, mark: str, cost: Cost, origin: Origin, parts: list[Site]) -> Site:
        instrumentation = self.table.instrumentation
        return Site(
            kernel=name,
            operators=sorted(origin.operators),
            value=origin.value,
            # Functions without a template are instrumented after this, by InstrumentRest.
            mark=None if instrumentation is None else instrumentation.of(mark),
            work=Work(bytes=cost.bytes, flops=cost.flops) if cost.is_known else None,
            parts=parts,
        )


def _cost(kernel: Kernel) -> Cost:
    symbols = Symbols({})
    buffers: dict[str, Any] = {
        param.name: tvm.tirx.decl_buffer(symbols.shape(param), param.dtype, param.name) for param in kernel.params
    }
    return kernel.cost_of(buffers)
