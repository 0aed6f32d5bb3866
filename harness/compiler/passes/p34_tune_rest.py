"""TuneRest: apply measured schedules to the functions without a template (:mod:`harness.compiler.schedule.tuning`)."""

from __future__ import annotations

import tvm

from harness.compiler.passes.kernel_table import KernelTable
from harness.compiler.schedule.tuning import Tuning, tune_module
from harness.compiler.targets.profiles import Profile


@tvm.transform.module_pass(opt_level=0, name="TuneRest")
class TuneRest:
    """Give each function the fastest schedule that MetaSchedule has found for it."""

    def __init__(self, profile: Profile, target: tvm.target.Target, table: KernelTable, tuning: Tuning) -> None:
        self.profile, self.target, self.table, self.tuning = profile, target, table, tuning

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        tune_module(module, self.target, self.profile, frozenset(self.table.kernels), self.tuning)
        return module
