"""InstrumentRest: call the instrumentation around the functions without a template.

Kernels of our own make their calls themselves (:func:`harness.compiler.kernels.kernel.prim_func`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm_ffi import structural_map

from harness.compiler.kernels.cost import Cost, integer
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.passes.p33_count_work import buffers, tensors


@tvm.transform.module_pass(opt_level=0, name="InstrumentRest")
class InstrumentRest:
    """Make the table's instrumentation calls in the functions that CountWork has seen.

    Runs last, because AttachGlobalSymbol (TVM 0.27) cannot rename functions that compute addresses, as tracing does.
    """

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        instrumentation = self.table.instrumentation
        if instrumentation is None:
            return module
        for name, function in module.functions_items():
            plain = name.name_hint.removeprefix(self.table.prefix)
            if plain in self.table.costs:
                before, found = self.table.costs[plain]
                outputs = buffers(function)[-self.table.results.get(plain, 1) :]
                begin = instrumentation.begin(plain, _moved(found, before, function))
                module.update_func(name, _wrapped(function, begin, instrumentation.end(plain, outputs)))
        return module


def _moved(found: Cost, before: Sequence[Any], function: tirx.PrimFunc) -> Cost:
    """Return a cost in another version of the function, whose extents have variables of their own."""
    if found.is_known:
        return found
    extents: dict[Any, Any] = {}
    for old, new in zip(before, tensors(function), strict=True):
        for one, other in zip(old.shape, new.shape, strict=True):
            if isinstance(one, tirx.Var):
                extents.setdefault(one, integer(other))
    there = [
        value
        if value is None or isinstance(value, int)
        else structural_map(value, (tirx.Var, lambda var: extents.get(var, var)))
        for value in (found.bytes, found.flops)
    ]
    return Cost(*there)


def _wrapped(function: tirx.PrimFunc, before: Iterable[Any], behind: Iterable[Any]) -> tirx.PrimFunc:
    begin, end = ([tirx.Evaluate(call) for call in calls] for calls in (before, behind))
    body = function.body
    if isinstance(body, s_tir.SBlockRealize):
        block = body.block
        inner = s_tir.SBlock(
            block.iter_vars,
            block.reads,
            block.writes,
            block.name_hint,
            tirx.SeqStmt([*begin, block.body, *end]),
            block.init,
            block.alloc_buffers,
            block.match_buffers,
            block.annotations,
        )
        return function.with_body(s_tir.SBlockRealize(body.iter_values, body.predicate, inner))
    return function.with_body(tirx.SeqStmt([*begin, body, *end]))
