"""Let threads share the outermost loops of a scheduled function, where its work is worth them."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx
from tvm_ffi import structural_map, structural_walk

from harness.compiler.kernels.parallel import ENOUGH, TASKS, begin, estimated, is_worth
from harness.compiler.schedule.access import REDUCTION, block_names, known
from harness.compiler.schedule.elementwise import PARTITION

CYCLES = 6.0
"""The cycles for a vector of a step, about: most wait for memory."""
MOST_LANES = 16
SHARED = "harness.shared"
"""Marks a loop that is to become parallel."""


def shared(schedule: s_tir.Schedule, lanes: int) -> tirx.PrimFunc | None:
    """Return the function with its loops over independent elements parallel; None if there are none worth it."""
    found = schedule
    for names in _nests(schedule):
        attempt = found.copy()
        try:
            found = attempt if _mark(attempt, names, lanes) else found
        except s_tir.ScheduleError:
            # The loops cannot be fused.
            continue
    if found is schedule:
        return None
    function = found.mod["main"]
    return function.with_body(structural_map(function.body, (tirx.For, _parallel)))


def _nests(schedule: s_tir.Schedule) -> list[list[str]]:
    """Return the blocks of each nest of loops."""
    nests: list[tuple[Any, list[str]]] = []
    for name in block_names(schedule):
        loops = schedule.get_loops(name)
        if not loops:
            continue
        outermost = schedule.get(loops[0]).loop_var
        if nests and nests[-1][0].same_as(outermost):
            nests[-1][1].append(name)
        else:
            nests.append((outermost, [name]))
    return [names for _, names in nests]


def _mark(schedule: s_tir.Schedule, names: list[str], lanes: int) -> bool:
    """Mark the first loops of a nest, fused; return whether they are worth it and independent."""
    nest = [schedule.get_loops(name) for name in names]
    total = max(estimated(*(schedule.get(loop).extent for loop in loops)) for loops in nest)
    if not is_worth(total / lanes * CYCLES) or any(_sums_in_memory(schedule, name) for name in names):
        return False
    loops = nest[0]
    chosen: list[Any] = []
    rounds = 1
    for loop in loops:
        node = schedule.get(loop)
        if int(node.kind) != tirx.ForKind.SERIAL or PARTITION in node.annotations or not _is_independent(node):
            break
        chosen.append(loop)
        extent = known(node.extent)
        rounds *= extent if isinstance(extent, int) else ENOUGH
        if rounds >= ENOUGH or not isinstance(node.body, tirx.For):
            break
    if not chosen or rounds < 2:
        return False
    schedule.annotate(schedule.fuse(*chosen) if len(chosen) > 1 else chosen[0], SHARED, 1)
    return True


def _sums_in_memory(schedule: s_tir.Schedule, name: str) -> bool:
    """Return whether a block has no schedule and reduces more than the lanes of a vector.

    LLVM keeps its sums in registers only in a function of its own, where it can assume that tensors do not overlap.
    """
    block = schedule.get(schedule.get_sblock(name))
    axes = [axis for axis in block.iter_vars if int(axis.iter_type) == REDUCTION]
    return block.init is not None and bool(axes) and estimated(*(axis.dom.extent for axis in axes)) > MOST_LANES


def _is_independent(loop: Any) -> bool:
    """Return whether each round of a loop writes elements of its own: it moves every block, and reduces in none.

    Schedule.parallel has the same rule. It also refuses blocks whose first values are written by another block.
    """
    if known(loop.extent) == 1:
        return True
    blocks: list[Any] = []
    structural_walk(loop.body, (s_tir.SBlockRealize, blocks.append))
    return bool(blocks) and all(_moves(block, loop.loop_var) for block in blocks)


def _moves(realize: Any, variable: Any) -> bool:
    moved = False
    for axis, value in zip(realize.block.iter_vars, realize.iter_values, strict=True):
        if not _uses(value, variable):
            continue
        if int(axis.iter_type) == REDUCTION:
            return False
        moved = True
    return moved


def _uses(value: Any, variable: Any) -> bool:
    found: list[Any] = []
    structural_walk(value, (tirx.Var, found.append))
    return any(one.same_as(variable) for one in found)


def _parallel(loop: Any) -> Any:
    """Return a marked loop as one over tasks, each of which runs some of the rounds."""
    if SHARED not in loop.annotations:
        return loop
    left = {key: value for key, value in loop.annotations.items() if key != SHARED}
    task = tirx.Var("task", loop.loop_var.ty)
    first = begin(task, loop.extent)
    count = begin(task + 1, loop.extent) - first
    own = tirx.For(loop.loop_var, first, count, tirx.ForKind.SERIAL, loop.body, loop.thread_binding, left, loop.step)
    zero, tasks = (tirx.const(value, str(loop.loop_var.ty.dtype)) for value in (0, TASKS))
    return tirx.For(task, zero, tasks, tirx.ForKind.PARALLEL, own)
