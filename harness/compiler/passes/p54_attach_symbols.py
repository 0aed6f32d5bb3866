"""AttachSymbols: give every function a symbol of its own."""

from __future__ import annotations

import tvm
from tvm import relax

from harness.compiler.passes.kernel_table import KernelTable


@tvm.transform.module_pass(opt_level=0, name="AttachSymbols")
class AttachSymbols:
    """Run relax.transform.AttachGlobalSymbol, with our kernels hidden from it.

    It cannot rename functions that compute addresses (TVM 0.27). Our kernels have their final names already.
    """

    def __init__(self, table: KernelTable) -> None:
        self.table = table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        functions = dict(module.functions_items())
        ours = {name: function for name, function in functions.items() if name.name_hint in self.table.kernels}
        theirs = tvm.IRModule({name: f for name, f in functions.items() if name not in ours}, attrs=module.attrs)
        named = relax.transform.AttachGlobalSymbol()(theirs)
        for name, function in ours.items():
            named[name] = function.with_attr("global_symbol", name.name_hint)
        return named
