"""Make vectors and register tiles for TIR functions without a template.

There is no search: each block gets the first of the schedules below that fits it. If none fits, or if TVM cannot prove
that it keeps the meaning, the block keeps TVM's own loops, which are right and slow.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import s_tir, tirx

from harness.compiler.schedule.access import Block, Unproven, block_names, read_block
from harness.compiler.schedule.elementwise import schedule_steps
from harness.compiler.schedule.inline import inline_steps
from harness.compiler.schedule.reduction import schedule_row_reduction
from harness.compiler.schedule.share import shared
from harness.compiler.schedule.tile import schedule_tile
from harness.compiler.settings import PASS_CONFIG, loop_passes
from harness.compiler.targets.profiles import Profile

Rule = Callable[[s_tir.Schedule, Block, Profile], None]


def _tile(schedule: s_tir.Schedule, block: Block, profile: Profile) -> None:
    schedule_tile(schedule, block, profile)


def _row_reduction(schedule: s_tir.Schedule, block: Block, profile: Profile) -> None:
    schedule_row_reduction(schedule, block, profile.lanes)


def _steps(schedule: s_tir.Schedule, block: Block, profile: Profile) -> None:
    if block.reductions:
        raise Unproven(f"{block.name} reduces")
    schedule_steps(schedule, block, profile.lanes)


RULES: tuple[Rule, ...] = (_tile, _row_reduction, _steps)


def is_open(function: tirx.PrimFunc) -> bool:
    """Return whether a function consists of S-TIR's blocks and has no schedule yet."""
    attrs = function.attrs or {}
    return bool(attrs.get("s_tir", False)) and not attrs.get("tirx.is_scheduled", False)


def scheduled(
    function: tirx.PrimFunc, profile: Profile, target: tvm.target.Target, rules: tuple[Rule, ...] = RULES
) -> tirx.PrimFunc:
    """Return the function with a schedule for every block that one fits; if none fits, the function itself."""
    try:
        schedule = s_tir.Schedule(function, error_render_level="none")
        inline_steps(schedule)
        names = block_names(schedule)
    except (s_tir.ScheduleError, Unproven):
        return function
    changed = False
    for name in names:
        after = _apply(schedule, name, profile, rules)
        changed = changed or after is not None
        schedule = after or schedule
    cut = shared(schedule, profile.lanes)
    whole = schedule.mod["main"] if changed else None
    forms = []
    for one in filter(None, (cut, whole)):
        after = one.with_attr("tirx.is_scheduled", True)
        forms += [_narrow(after), after] if _has_dynamic_indices(after) else [after]
    return next((form for form in forms if _lowers(form, target)), function)


def _has_dynamic_indices(function: tirx.PrimFunc) -> bool:
    """Return whether extents are known only when it runs, and only they need 64 bits."""
    if any(not hasattr(param.ty, "shape") or str(param.ty.dtype) == "int64" for param in function.params):
        return False
    return any(not isinstance(extent, tirx.IntImm) for param in function.params for extent in param.ty.shape)


def _narrow(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the function with indices of 32 bits. TVM 0.27's LoopPartition confuses them with those of 64."""
    return tirx.transform.ForceNarrowIndexToInt32()(tvm.IRModule({"main": function}))["main"]


def _lowers(function: tirx.PrimFunc, target: tvm.target.Target) -> bool:
    """Return whether TVM's passes accept the function. A later pass may fail because of a schedule."""
    whole, _, _ = loop_passes()
    bound = function.with_attr({"global_symbol": "main", "target": target.with_host(target)})
    try:
        with tvm.transform.PassContext(config=PASS_CONFIG):
            whole(tvm.IRModule({"main": bound}))
    except Exception:  # each pass may raise anything
        return False
    return True


def _apply(schedule: s_tir.Schedule, name: str, profile: Profile, rules: tuple[Rule, ...]) -> s_tir.Schedule | None:
    """Apply the first rule that fits the block to a copy of the schedule; return None if no rule fits."""
    for rule in rules:
        attempt = schedule.copy()
        try:
            rule(attempt, read_block(attempt, name), profile)
        except (s_tir.ScheduleError, Unproven, tvm.error.InternalError):
            # The last error is a failed check of TVM's own, on a copy that is dropped.
            continue
        return attempt
    return None
