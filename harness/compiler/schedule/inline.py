"""Inline element-wise steps into the steps that use them, if nothing costly is then computed more often."""

from __future__ import annotations

from tvm import s_tir

from harness.compiler.schedule.access import Block, Unproven, block_names, read_block, same_extent

FREE = frozenset({"tirx.likely", "tirx.reinterpret"})
"""Operators so cheap that computing them again beats keeping a tensor."""


def inline_steps(schedule: s_tir.Schedule) -> None:
    """Inline every step that can be inlined, from the first to the last."""
    for name in block_names(schedule):
        if _should_vanish(schedule, name):
            try:
                schedule.compute_inline(name)
            except s_tir.ScheduleError:
                continue


def _should_vanish(schedule: s_tir.Schedule, name: str) -> bool:
    consumers = [str(schedule.get(consumer).name_hint) for consumer in schedule.get_consumers(name)]
    if not consumers:
        return False
    try:
        step = read_block(schedule, name)
        users = [read_block(schedule, consumer) for consumer in consumers]
    except Unproven:
        return False
    if step.reductions:
        return False
    if is_copy(step):
        return True
    if any(not _as_often(step, user) for user in users):
        return False
    return len(users) == 1 or not step.operators - FREE


def is_copy(step: Block) -> bool:
    """Return whether a step only moves elements, so that its readers could read its source instead."""
    return len(step.reads) == 1 and not step.operators and step.is_load


def _as_often(step: Block, user: Block) -> bool:
    """Return whether the step's user has no more instances than the step, axis by axis."""
    own = [axis.extent for axis in step.axes if axis.extent != 1]
    others = [axis.extent for axis in user.axes if axis.extent != 1]
    return len(own) == len(others) and all(same_extent(a, b) for a, b in zip(own, others, strict=True))
