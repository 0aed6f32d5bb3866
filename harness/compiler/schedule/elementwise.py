"""Vectorise element-wise steps, over the axes that lie alike in all tensors."""

from __future__ import annotations

import math
from typing import Any

from tvm import s_tir

from harness.compiler.schedule.access import Access, Axis, Block, Unproven, known, same_extent

PARTITION = "pragma_loop_partition_hint"
"""Makes TVM split the last round of a loop, which is not a whole vector, into a loop of its own."""


def schedule_steps(schedule: s_tir.Schedule, block: Block, lanes: int) -> None:
    """Vectorise a block without reductions. Raises Unproven if its elements do not lie side by side."""
    together = _alike(block)
    if not together:
        raise Unproven(f"{block.name}: its elements lie apart")
    loops = schedule.get_loops(block.name)[-together:]
    vectorize(schedule, schedule.fuse(*loops) if together > 1 else loops[0], lanes)


def vectorize(schedule: s_tir.Schedule, loop: Any, lanes: int) -> Any:
    """Split a loop into vectors; return the loop over them. Raises Unproven for loops shorter than two."""
    extent = known(schedule.get(loop).extent)
    width = vector_width(extent, lanes)
    outer, inner = schedule.split(loop, [None, width])
    if not isinstance(extent, int) or extent % width:
        schedule.annotate(outer, PARTITION, 1)
    schedule.vectorize(inner)
    return outer


def vector_width(extent: Any, lanes: int) -> int:
    """Return the widest vectors that leave no rest, if they fill a quarter of a register; else those with a rest."""
    if not isinstance(extent, int):
        return lanes
    if extent < 2:
        raise Unproven("nothing to make vectors of")
    whole = math.gcd(extent, lanes)
    if whole > 1 and whole * 4 >= min(lanes, extent):
        return whole
    return int(min(lanes, 2 ** (extent.bit_length() - 1)))


def _alike(block: Block) -> int:
    """Return how many of the last axes can be joined: they are the last ones of every tensor that has them, whole."""
    count = 0
    for more in range(1, len(block.axes) + 1):
        axes = block.axes[-more:]
        if not all(_ends_with(access, axes) or _without(access, axes) for access in block.accesses):
            break
        count = more
    return count


def _ends_with(access: Access, axes: tuple[Axis, ...]) -> bool:
    """Return whether the tensor's last extents are the axes'; only the first axis may cover a part of its extent."""
    if len(axes) > len(access.indices):
        return False
    ends = list(zip(axes, access.indices[-len(axes) :], list(access.buffer.shape)[-len(axes) :], strict=True))
    if len(axes) == 1:
        return access.lie(axes[0]) == "contiguous"
    if any(not index.same_as(axis.variable) for axis, index, _ in ends[1:]):
        return False
    before = access.indices[: -len(axes)]
    if any(access.lie(axis) == "absent" for axis in axes) or any(_uses(before, axis) for axis in axes[1:]):
        return False
    first = Access(access.buffer, access.indices[: len(access.indices) - len(axes) + 1])
    return first.lie(axes[0]) == "contiguous" and all(
        same_extent(axis.extent, known(size)) for axis, _, size in ends[1:]
    )


def _uses(indices: tuple[Any, ...], axis: Axis) -> bool:
    return bool(indices) and Access(None, indices).lie(axis) != "absent"


def _without(access: Access, axes: tuple[Axis, ...]) -> bool:
    return all(access.lie(axis) == "absent" for axis in axes)
