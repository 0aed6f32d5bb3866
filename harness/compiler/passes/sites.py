"""RecordSites: the calls of kernels that a function makes, in their order, with what each stands for."""

from __future__ import annotations

import tvm

from harness.compiler.passes.graph import Graph, op_name
from harness.compiler.passes.origins import Origin, completed, result_origin
from harness.compiler.passes.pack import KernelTable
from harness.compiler.provenance import Site

CALLS = ("relax.call_tir", "relax.call_tir_inplace")


@tvm.transform.module_pass(opt_level=0, name="RecordSites")
class RecordSites:
    """Fills ``sites``. To be run before ToNonDataflow; what follows keeps the calls' order and adds no kernels
    but those that compute shapes."""

    def __init__(self, table: KernelTable, sites: list[Site]) -> None:
        self.table, self.sites = table, sites

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        graph = Graph(module["main"])
        known = completed(graph, self.table.origins)
        for binding in graph.bindings:
            if op_name(binding.value) in CALLS:
                name = str(binding.value.args[0].name_hint)
                origin = result_origin(graph, binding.var, known)
                parts = [self._site(part.kernel.name, part.origin) for part in self.table.parts.get(name, [])]
                self.sites.append(self._site(name.removeprefix(self.table.prefix), origin, parts))
        return module

    def _site(self, name: str, origin: Origin, parts: list[Site] | None = None) -> Site:
        return Site(kernel=name, operators=sorted(origin.operators), value=origin.value, parts=parts or [])
