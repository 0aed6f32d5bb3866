"""Make register tiles for products, convolutions and pools: a tile's sums stay in registers until they are complete."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import s_tir

from harness.compiler.schedule.access import Axis, Block, Unproven, block_names, read_block, same_extent
from harness.compiler.schedule.elementwise import PARTITION, vector_width
from harness.compiler.targets.profiles import Profile

MOST_ELEMENTS = 255
"""The most elements of a tile. TVM puts larger buffers on the heap."""
MOST_VECTORS = 4
MOST_UNROLLED = 9
"""The most unrolled steps of a reduction: a window of a pool or of a convolution by channel."""


@dataclass(frozen=True)
class Tile:
    """Describe a tile.

    ``row`` is the position of the axis that is cut into rows, None for a single row. ``width`` is the lanes of a
    vector.
    """

    row: int | None
    rows: int
    vectors: int
    width: int

    @property
    def columns(self) -> int:
        return self.vectors * self.width


def schedule_tile(schedule: s_tir.Schedule, block: Block, profile: Profile) -> None:
    """Keep a reduction's results in registers, and finish them there if one element-wise step follows.

    Raises Unproven unless its last axis lies side by side in every tensor that has it.
    """
    tile = choose_tile(block, profile)
    spatial = len(block.spatial)
    if any(axis.is_reduction for axis in block.axes[:spatial]):
        raise Unproven(f"{block.name}: reductions are between other axes")
    last = _only_step_behind(schedule, block)
    if last is None:
        # With "local", TVM 0.27 would take every tile's memory from the heap.
        last = str(schedule.get(schedule.cache_write(block.name, 0, "global")).name_hint)
    loops = schedule.get_loops(last)
    columns, vectors, lanes = schedule.split(loops[-1], [None, tile.vectors, tile.width])
    outer, inner = list(loops[:-1]), [vectors, lanes]
    hints = [columns] if _leaves_rest(block.axes[spatial - 1], tile.columns) else []
    if tile.row is not None and tile.rows > 1:
        rounds, rows = schedule.split(loops[tile.row], [None, tile.rows])
        outer[tile.row] = rounds
        inner.insert(0, rows)
        hints += [rounds] if _leaves_rest(block.axes[tile.row], tile.rows) else []
    schedule.reorder(columns, *outer, *inner)
    deepest = outer[-1] if outer else columns
    schedule.compute_at(block.name, deepest, preserve_unit_loops=True)
    _fill_registers(schedule, block, tile, len(schedule.get_loops(last)) - len(inner))
    for loop in inner[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(lanes)
    for loop in hints:
        schedule.annotate(loop, PARTITION, 1)


def _fill_registers(schedule: s_tir.Schedule, block: Block, tile: Tile, common: int) -> None:
    """Schedule the reduction below the ``common`` loops: reductions outside, rows and vectors unrolled inside."""
    spatial = len(block.spatial)
    own = schedule.get_loops(block.name)[common:]
    axes, reductions = own[:spatial], own[spatial:]
    vectors, lanes = schedule.split(axes[-1], [None, tile.width])
    schedule.reorder(*axes[:-1], *reductions, vectors, lanes)
    unrolled = [vectors]
    if tile.row is not None and tile.rows > 1:
        rows = axes[tile.row]
        schedule.reorder(*reductions, rows, vectors, lanes)
        unrolled.insert(0, rows)
    for loop in unrolled:
        schedule.unroll(loop)
    schedule.vectorize(lanes)
    schedule.decompose_reduction(block.name, reductions[0])
    if _count(block.reductions) <= MOST_UNROLLED:
        for loop in reductions:
            schedule.unroll(loop)


def choose_tile(block: Block, profile: Profile) -> Tile:
    """Return the tile of a reduction. Raises Unproven if nothing can be made into vectors."""
    if not block.spatial or not block.reductions:
        raise Unproven(f"{block.name}: no axis to make vectors of")
    column = block.spatial[-1]
    lies = [access.lie(column) for access in block.reads]
    if block.write.lie(column) != "contiguous" or "strided" in lies or "contiguous" not in lies:
        raise Unproven(f"{block.name}: its columns lie apart")
    if not isinstance(column.extent, int):
        raise Unproven(f"{block.name}: its columns are known only when it runs")
    width = vector_width(column.extent, profile.lanes)
    row = _row_axis(block)
    most = min(MOST_VECTORS if row is None else profile.columns // profile.lanes, max(1, column.extent // width))
    vectors = math.gcd(column.extent // width, most) if column.extent % width == 0 else 1
    if row is None:
        return Tile(None, 1, vectors, width)
    most_rows = min(profile.rows, MOST_ELEMENTS // (vectors * width))
    return Tile(row, near_equal(block.spatial[row].extent, most_rows), vectors, width)


def _count(axes: tuple[Axis, ...]) -> float:
    """Return the number of elements of all axes; infinite if it is known only when the function runs."""
    return math.prod(axis.extent if isinstance(axis.extent, int) else math.inf for axis in axes)


def near_equal(total: int, most: int) -> int:
    """Return the size of parts of at most ``most`` that differ as little as possible."""
    return math.ceil(total / math.ceil(total / most))


def _row_axis(block: Block) -> int | None:
    """Return the last axis that some tensor lacks, else the last one with rows.

    Values that are read from a tensor without the axis serve every row. Axes of dynamic extents are not cut into rows,
    because TVM proves too little about the rest.
    """
    rows = [at for at, axis in enumerate(block.spatial[:-1]) if isinstance(axis.extent, int) and axis.extent != 1]
    reused = [at for at in rows if any(access.lie(block.spatial[at]) == "absent" for access in block.reads)]
    return max(reused or rows, default=None)


def _leaves_rest(axis: Axis, size: int) -> bool:
    return bool(axis.extent % size)


def _only_step_behind(schedule: s_tir.Schedule, block: Block) -> str | None:
    """Return the name of the only step that uses the block's result, if it uses one element for each of its own."""
    consumers = schedule.get_consumers(block.name)
    if len(consumers) != 1:
        return None
    name = str(schedule.get(consumers[0]).name_hint)
    try:
        step = read_block(schedule, name)
    except Unproven:
        return None
    if step.reductions or len(step.axes) != len(block.spatial) or name not in block_names(schedule):
        return None
    axes = [axis.variable for axis in step.axes]
    same = all(same_extent(a.extent, b.extent) for a, b in zip(step.axes, block.spatial, strict=True))
    for access in step.reads:
        if access.buffer.same_as(block.write.buffer):
            same = same and _is_identity(access.indices, axes, block.spatial)
    return name if same and _is_identity(step.write.indices, axes, block.spatial) else None


def _is_identity(indices: tuple[Any, ...], variables: list[Any], axes: tuple[Axis, ...]) -> bool:
    """Return whether an element's indices are the axes themselves; an axis of one element may be written as 0."""
    return len(indices) == len(variables) and all(
        index.same_as(variable) or axis.extent == 1
        for index, variable, axis in zip(indices, variables, axes, strict=True)
    )
