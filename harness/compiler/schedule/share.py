"""Let threads share the outermost loops of a scheduled function, where its work is worth them."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

from harness.compiler.kernels.parallel import ENOUGH, estimated, is_worth
from harness.compiler.schedule.access import block_names, known
from harness.compiler.schedule.elementwise import PARTITION

CYCLES = 2.0
"""The cycles for a vector of a step, about: most wait for memory."""


def shared(schedule: s_tir.Schedule, lanes: int) -> s_tir.Schedule | None:
    """Return a copy in which loops over independent elements are parallel; None if there are none worth it."""
    found, seen = schedule.copy(), set[Any]()
    changed = False
    for name in block_names(schedule):
        loops = found.get_loops(name)
        if not loops:
            continue
        outermost = found.get_sref(loops[0])
        if any(outermost.same_as(other) for other in seen):
            continue
        seen.add(outermost)
        attempt = found.copy()
        try:
            if _share(attempt, name, lanes):
                found, changed = attempt, True
        except s_tir.ScheduleError:
            # The loop also runs over what is reduced.
            continue
    return found if changed else None


def _share(schedule: s_tir.Schedule, name: str, lanes: int) -> bool:
    """Make the first loops of a block's nest parallel; return whether they are worth it."""
    loops = schedule.get_loops(name)
    total = estimated(*(schedule.get(loop).extent for loop in loops))
    if not is_worth(total / lanes * CYCLES):
        return False
    chosen: list[Any] = []
    rounds = 1
    for loop in loops:
        node = schedule.get(loop)
        plain = int(node.kind) == tirx.ForKind.SERIAL and PARTITION not in node.annotations
        if not plain:
            break
        chosen.append(loop)
        extent = known(node.extent)
        rounds *= extent if isinstance(extent, int) else ENOUGH
        if rounds >= ENOUGH or not isinstance(node.body, tirx.For):
            break
    if not chosen or rounds < 2:
        return False
    schedule.parallel(schedule.fuse(*chosen) if len(chosen) > 1 else chosen[0])
    return True
