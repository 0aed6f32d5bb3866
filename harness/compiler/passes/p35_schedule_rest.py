"""ScheduleRest: schedule the functions without a template (:mod:`harness.compiler.schedule.rest`)."""

from __future__ import annotations

from collections.abc import Collection

import tvm
from tvm import tirx

from harness.compiler.kernels import arithmetic
from harness.compiler.schedule.rest import is_open, scheduled
from harness.compiler.targets.profiles import Profile


@tvm.transform.module_pass(opt_level=0, name="ScheduleRest")
class ScheduleRest:
    """Schedule every S-TIR function except those named in ``done``. Runs after FuseTIR."""

    def __init__(self, profile: Profile, target: tvm.target.Target, done: Collection[str] = ()) -> None:
        self.profile, self.target, self.done = profile, target, done

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        arithmetic.install()
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc) and name.name_hint not in self.done and is_open(function):
                module.update_func(name, scheduled(function, self.profile, self.target))
        return module
