"""Functions that are instrumented for profiling and run in this process: the marks' C functions as a shared library."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.observe.profiling import BYTES, CAPACITY, FLOPS, SOURCE, Marks
from harness.compiler.observe.provenance import FunctionProvenance, Provenance
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import ModelFunction
from harness.protocol.schema import Phase, ProfileRecord

HOST = resolve_target("llvm")


@dataclass(frozen=True)
class Marked:
    """A compiled function, and the marks of its kernels."""

    provenance: Provenance
    main: Any
    library: Any
    prefix: str

    def record(self, *arguments: Any) -> ProfileRecord:
        """The marks of the kernels in one call."""
        self._take()
        self.main(*(tvm.runtime.tensor(np.ascontiguousarray(argument)) for argument in arguments))
        events = self._take()
        return ProfileRecord(
            record="profile",
            workload="m",
            items=["w"],
            phase=Phase.TIMED,
            repetition=0,
            numbers=events[:, 0].tolist(),
            values=events[:, 1].tolist(),
        )

    def _take(self) -> Any:
        events, counts = np.zeros((4096, 2), np.int64), np.zeros(2, np.int32)
        take = getattr(self.library, f"{self.prefix}take_events")
        take(
            events.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(events)), counts.ctypes.data_as(ctypes.c_void_p)
        )
        assert counts[1] == 0
        return events[: counts[0]]


def compiled(function: ModelFunction, folder: Path, prefix: str) -> Marked:
    """``prefix`` has to be of its own in each process: the library stays loaded."""
    source = folder / f"{prefix}.c"
    source.write_text(SOURCE.format(prefix=prefix, capacity=CAPACITY, bytes=BYTES, flops=FLOPS))
    library = folder / f"{prefix}.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-O1", str(source), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    ops = OpTable()
    imported = import_function(function, ops)
    recipe = Recipe(HOST.profile, "fp32", f"{prefix}f_", ops, function.results, instrumentation=Marks(prefix))
    machine = relax.VirtualMachine(lower(imported, tvm_target(HOST), recipe), tvm.cpu())
    known = FunctionProvenance(name=function.name, operators=ops.origins.operators, sites=recipe.sites)
    return Marked(Provenance(functions=[known]), machine["main"], loaded, prefix)
