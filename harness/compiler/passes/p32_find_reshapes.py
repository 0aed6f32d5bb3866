"""FindReshapes: turn functions that only reshape into views."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from harness.compiler.passes.kernel_table import KernelTable


@tvm.transform.module_pass(opt_level=0, name="FindReshapes")
class FindReshapes:
    """Run relax.transform.RewriteDataflowReshape, with our kernels' bodies hidden from it.

    It takes a kernel of one tensor for a reshape and fails on its body (TVM 0.27).
    """

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        ours = {name: f for name, f in module.functions_items() if name.name_hint in self.table.kernels}
        for name, function in ours.items():
            module.update_func(name, function.with_body(tvm.tirx.Evaluate(0)))
        try:
            found = relax.transform.RewriteDataflowReshape()(module)
        except tvm.error.InternalError:
            # TVM cannot divide extents like 2 n - 1. The functions that have them stay what they are.
            odd = {name: f for name, f in module.functions_items() if name not in ours and _stumbles(f)}
            for name, function in odd.items():
                module.update_func(name, function.with_body(tvm.tirx.Evaluate(0)))
            ours |= odd
            found = relax.transform.RewriteDataflowReshape()(module)
        for name, function in ours.items():
            found.update_func(name, function)
        return found


def _stumbles(function: Any) -> bool:
    """Return whether TVM's look for a reshape fails in the function."""
    if not isinstance(function, tvm.tirx.PrimFunc):
        return False
    try:
        relax.analysis.has_reshape_pattern(function)
    except tvm.error.InternalError:
        return True
    return False
