"""What TIR functions that no template made move and compute, and marks around them.

Our own kernels know both themselves (:mod:`harness.compiler.kernels.cost`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm_ffi import structural_map, structural_walk

from harness.compiler.graph.graph import op_name
from harness.compiler.kernels.cost import Cost, integer, sizes
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.schedule.access import REDUCTION


@tvm.transform.module_pass(opt_level=0, name="CountWork")
class CountWork:
    """Notes each function's cost in the table. To be run before ScheduleRest, which hides what a function computes."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc) and name.name_hint not in self.table.kernels:
                self.table.costs[name.name_hint] = (tensors(function), cost(function))
        self.table.results.update(_result_counts(module["main"]))
        return module


@tvm.transform.module_pass(opt_level=0, name="MarkRest")
class MarkRest:
    """Puts the table's marks into the functions that CountWork has seen. To be run last: AttachGlobalSymbol (TVM 0.27)
    cannot rename functions that compute addresses, as taps do."""

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
                outputs = _buffers(function)[-self.table.results.get(plain, 1) :]
                begin = instrumentation.begin(plain, _moved(found, before, function))
                module.update_func(name, _wrapped(function, begin, instrumentation.end(plain, outputs)))
        return module


def tensors(function: tirx.PrimFunc) -> list[Any]:
    """The types of a function's tensors."""
    return [param.ty for param in _buffers(function)]


def _buffers(function: tirx.PrimFunc) -> list[Any]:
    return [param for param in function.params if hasattr(param.ty, "shape")]


def cost(function: tirx.PrimFunc) -> Cost:
    """All of a function's tensors, and twice the multiply-adds of the products that it sums up."""
    found: list[Any] = []

    def count(block: s_tir.SBlock) -> None:
        if any(int(axis.iter_type) == REDUCTION for axis in block.iter_vars) and _multiplies(block.body):
            found.append(math.prod((integer(axis.dom.extent) for axis in block.iter_vars), start=2))

    structural_walk(function.body, (s_tir.SBlock, count))
    return Cost(sizes(tensors(function)), sum(found[1:], start=found[0]) if found else None)


def _multiplies(body: Any) -> bool:
    """Whether two elements of tensors are multiplied somewhere."""
    found = False

    def look(product: tirx.Mul) -> None:
        nonlocal found
        found = found or (_reads(product.a) and _reads(product.b))

    structural_walk(body, (tirx.Mul, look))
    return found


def _reads(expression: Any) -> bool:
    found: list[Any] = []
    structural_walk(expression, (tvm.ir.expr.TensorLoad, found.append))
    return bool(found)


def _moved(found: Cost, before: Sequence[Any], function: tirx.PrimFunc) -> Cost:
    """A cost in another version of the function, whose extents have variables of their own."""
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


def _result_counts(main: Any) -> dict[str, int]:
    """How many tensors each function that ``main`` calls makes: they are its last ones."""
    found = {}
    for block in main.body.blocks:
        for binding in block.bindings:
            if op_name(binding.value) == "relax.call_tir":
                fields = getattr(binding.var.ty, "fields", None)
                found[str(binding.value.args[0].name_hint)] = 1 if fields is None else len(fields)
    return found


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
