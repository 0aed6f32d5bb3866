"""Hold the settings of TVM's passes for all their runs in this project, and its passes over loops."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import s_tir, tirx

PASS_CONFIG = {"tirx.disable_storage_rewrite": True}
"""TVM 0.27 lets buffers share memory by the times of their uses, and overlooks uses through a view."""
EMITTED = "harness_emitted"
"""The attribute of functions whose buffers have the sizes that they need, since a template emitted them."""
LOOPS = "harness_loops"
"""The name of :func:`loop_passes` as TVM's ``tir_pipeline``."""


def loop_passes() -> tuple[tvm.transform.Pass, Any, Any]:
    """Return TVM's passes over loops, the passes that finish them for the host, and those for other devices.

    They are TVM 0.27's own (``s_tir.pipeline.default_s_tir_pipeline``) without those for GPUs, and a template's buffers
    are not looked through for smaller ones: that took a tenth of a compile and found nothing.
    """
    s, t = s_tir.transform, tirx.transform
    passes = tvm.transform.Sequential(
        [
            s.CanonicalizeLoop(),
            s.LowerInitBlock(),
            s.PlanAndUpdateBufferAllocationLocation(),
            s.ConvertBlocksToOpaque(),
            compact_buffers(),
            s.LowerMatchBuffer(),
            s.StmtSimplify(),
            s.LowerOpaqueBlock(),
            t.FlattenBuffer(),
            t.BF16ComputeLegalize(),
            t.NarrowDataType(32),
            s.LoopPartition(),
            t.VectorizeLoop(True),
            s.HoistIfThenElse(),
            t.UnrollLoop(),
            s.RenormalizeSplitPattern(),
            t.StmtSimplify(),
            t.RemoveNoOp(),
            s.RewriteUnsafeSelect(),
            t.CommonSubexprElim(),
            t.FP8ComputeLegalize(),
            t.VerifyMemory(),
            t.AnnotateEntryFunc(),
            t.SplitHostDevice(),
            t.MakePackedAPI(),
            t.FP8StorageLegalize(),
            t.BF16StorageLegalize(),
        ]
    )
    return passes, s_tir.pipeline.finalize_host_passes, s_tir.pipeline.finalize_device_passes


def compact_buffers() -> tvm.transform.Pass:
    """Return the pass that makes buffers as small as their uses, of functions that no template emitted."""
    compact = s_tir.transform.CompactBufferAllocation()

    @tvm.transform.module_pass(opt_level=0, name="CompactBuffers")
    def run(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        others = {name: one for name, one in module.functions_items() if EMITTED not in (one.attrs or {})}
        if others:
            module.update(compact(tvm.IRModule(others)))
        return module

    passed: tvm.transform.Pass = run
    return passed


tirx.compilation_pipeline.PIPELINE_MAP[LOOPS] = loop_passes
