"""Schedule reductions over neighbours: a partial result for each lane of a vector, then a reduction over the lanes."""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir

from harness.compiler.schedule.access import Block, Unproven, block_names, known
from harness.compiler.schedule.elementwise import PARTITION

LEAST = 16
"""The least length for vectors; below it, summing one by one is as fast."""


def schedule_row_reduction(schedule: s_tir.Schedule, block: Block, lanes: int) -> None:
    """Vectorise a reduction whose last axis runs through neighbours. Raises Unproven for others."""
    spatial = len(block.spatial)
    last = block.axes[-1]
    lies = [access.lie(last) for access in block.reads]
    if not last.is_reduction or "strided" in lies or "contiguous" not in lies:
        raise Unproven(f"{block.name}: it reduces what lies apart")
    if any(axis.is_reduction for axis in block.axes[:spatial]):
        raise Unproven(f"{block.name}: reductions are between other axes")
    loop = schedule.get_loops(block.name)[-1]
    extent = known(schedule.get(loop).extent)
    width = reduction_width(extent, lanes)
    _, lane = schedule.split(loop, [None, width])
    for other in block_names(schedule):
        # TVM 0.27's rfactor takes any other block without a loop for this one, and fails.
        if not schedule.get_loops(other):
            schedule.add_unit_loop(schedule.get_sblock(other))
    partial = schedule.rfactor(lane, spatial)
    *rounds, lane = schedule.get_loops(partial)
    rounds = rounds[spatial:]
    if spatial:
        # The other way round, TVM 0.27's compute_at would forget where the last vector ends.
        schedule.reverse_compute_at(block.name, schedule.get_loops(partial)[spatial - 1], preserve_unit_loops=True)
    schedule.unroll(schedule.get_loops(block.name)[spatial])
    if not isinstance(extent, int) or extent % width:
        schedule.annotate(rounds[-1], PARTITION, 1)
    schedule.vectorize(lane)
    schedule.decompose_reduction(partial, rounds[0])


def reduction_width(extent: Any, lanes: int) -> int:
    """Return how many lanes to use: reducing over them takes no more steps than the vectors do. Raises Unproven."""
    if not isinstance(extent, int):
        return min(lanes, 8)
    if extent < LEAST:
        raise Unproven("too short to make vectors of")
    return int(min(lanes, 2 ** (math.isqrt(extent).bit_length() - 1)))
