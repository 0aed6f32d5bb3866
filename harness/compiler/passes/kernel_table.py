"""Hold the kernels of a module, which the passes after FusePatterns share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from harness.compiler.graph.origins import Origin, Origins
from harness.compiler.kernels.cost import Cost
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.kernels.kernel import Kernel, prim_func


@dataclass(frozen=True)
class Part:
    """Hold a kernel within a merged one, and the origin of its result."""

    kernel: Kernel
    origin: Origin


@dataclass
class KernelTable:
    """Hold the kernels that a module's functions call, by the names of their TIR functions.

    Names begin with ``prefix``, so that functions of several modules can be linked together.
    """

    prefix: str
    origins: Origins = field(default_factory=Origins)
    """The origins of the values in the current function."""
    kernels: dict[str, Kernel] = field(default_factory=dict)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """The parts of merged kernels, in the order in which they run."""
    instrumentation: Instrumentation | None = None
    """The kernels' instrumentation; None for an archive without any."""
    costs: dict[str, tuple[list[Any], Cost]] = field(default_factory=dict)
    """The costs of functions without a template, with the tensors whose extents are variables in a cost's
    expressions."""
    results: dict[str, int] = field(default_factory=dict)
    """How many tensors each of those functions returns: its last ones."""

    def add(self, module: tvm.IRModule, kernel: Kernel, weights_symbol: str | None = None) -> tvm.ir.GlobalVar:
        """Return the kernel's TIR function in the module; add it if it is missing."""
        name = f"{self.prefix}{kernel.name}" + ("_linked" if weights_symbol else "")
        for known in module.get_global_vars():
            if known.name_hint == name:
                return known
        function = prim_func(kernel, weights_symbol, self.instrumentation)
        variable = relax.BlockBuilder().add_func(function, name)  # this gives it the type by which calls are checked
        module[variable] = function
        self.kernels[name] = kernel
        return variable

    def of(self, call: Any) -> Kernel | None:
        """Return our kernel that a ``call_tir`` or ``call_tir_inplace`` calls, or None."""
        if getattr(getattr(call, "op", None), "name", "") not in ("relax.call_tir", "relax.call_tir_inplace"):
            return None
        return self.kernels.get(call.args[0].name_hint)
