"""The kernels of a module: what the passes behind FusePatterns share."""

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
    """A kernel within a merged one, and the origin of its result."""

    kernel: Kernel
    origin: Origin


@dataclass
class KernelTable:
    """The kernels that a module's functions call, by the names of their TIR functions.

    Names begin with ``prefix``, so that functions of several modules can be linked together.
    """

    prefix: str
    origins: Origins = field(default_factory=Origins)
    """Of the values of the function at hand."""
    kernels: dict[str, Kernel] = field(default_factory=dict)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """Of merged kernels, in the order they run."""
    instrumentation: Instrumentation | None = None
    """Of the kernels; None for an archive without."""
    costs: dict[str, tuple[list[Any], Cost]] = field(default_factory=dict)
    """Of functions without a template, with the tensors whose extents are variables in a cost's expressions."""
    results: dict[str, int] = field(default_factory=dict)
    """How many tensors each of those functions returns: its last ones."""

    def add(self, module: tvm.IRModule, kernel: Kernel, weights_symbol: str | None = None) -> tvm.ir.GlobalVar:
        """Return the kernel's TIR function in the module; add it where it is missing."""
        name = f"{self.prefix}{kernel.name}" + ("_linked" if weights_symbol else "")
        for known in module.get_global_vars():
            if known.name_hint == name:
                return known
        function = prim_func(kernel, weights_symbol, self.instrumentation)
        variable = relax.BlockBuilder().add_func(function, name)  # which gives it the type that calls are checked by
        module[variable] = function
        self.kernels[name] = kernel
        return variable

    def of(self, call: Any) -> Kernel | None:
        """Return the kernel of ours that a ``call_tir`` or ``call_tir_inplace`` calls."""
        if getattr(getattr(call, "op", None), "name", "") not in ("relax.call_tir", "relax.call_tir_inplace"):
            return None
        return self.kernels.get(call.args[0].name_hint)
