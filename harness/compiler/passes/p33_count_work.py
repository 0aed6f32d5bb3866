"""CountWork: count the bytes and FLOPs of functions without a template.

Kernels of our own have both (:mod:`harness.compiler.kernels.cost`).
"""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm_ffi import structural_walk

from harness.compiler.graph.graph import op_name
from harness.compiler.kernels.cost import Cost, integer, sizes
from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.schedule.access import REDUCTION


@tvm.transform.module_pass(opt_level=0, name="CountWork")
class CountWork:
    """Note each function's cost in the table. Runs before ScheduleRest, which hides what a function computes."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc) and name.name_hint not in self.table.kernels:
                self.table.costs[name.name_hint] = (tensors(function), cost(function))
        self.table.results.update(_result_counts(module["main"]))
        return module


def tensors(function: tirx.PrimFunc) -> list[Any]:
    """Return the types of a function's tensors."""
    return [param.ty for param in buffers(function)]


def buffers(function: tirx.PrimFunc) -> list[Any]:
    """Return a function's parameters that are tensors."""
    return [param for param in function.params if hasattr(param.ty, "shape")]


def cost(function: tirx.PrimFunc) -> Cost:
    """Return the size of all of a function's tensors, and twice the multiply-adds of the products that it sums up."""
    found: list[Any] = []

    def count(block: s_tir.SBlock) -> None:
        if any(int(axis.iter_type) == REDUCTION for axis in block.iter_vars) and _multiplies(block.body):
            found.append(math.prod((integer(axis.dom.extent) for axis in block.iter_vars), start=2))

    structural_walk(function.body, (s_tir.SBlock, count))
    return Cost(sizes(tensors(function)), sum(found[1:], start=found[0]) if found else None)


def _multiplies(body: Any) -> bool:
    """Return whether two elements of tensors are multiplied somewhere."""
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


def _result_counts(main: Any) -> dict[str, int]:
    """Return how many tensors each function that ``main`` calls returns: its last ones."""
    found = {}
    for block in main.body.blocks:
        for binding in block.bindings:
            if op_name(binding.value) == "relax.call_tir":
                fields = getattr(binding.var.ty, "fields", None)
                found[str(binding.value.args[0].name_hint)] = 1 if fields is None else len(fields)
    return found
