"""Sort rows: a stable merge sort of places, for rows of any length and numbers of any type.

Runs of one, two, four, … places are merged back and forth between two rows of places. As for torch, NaN
is larger than any number.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import quotient, when

LEFT, RIGHT, WIDTH, SOURCE = range(4)
"""Where the state of a merge lies: the next place of both runs, their length, and the row that holds them."""
DOUBLINGS = 31
"""A row has fewer than 2**31 elements."""


def sort_places(leading: tuple[Dim, ...], extent: Dim, dtype: str, *, descending: bool) -> Kernel:
    """Return the kernel: (x [..., N]) to the places int64 [..., N] of each row's elements in their order."""

    def emit(buffers: Buffers) -> None:
        rows, extent = vector.rows_of(buffers["x"]), list(buffers["x"].shape)[-1]
        x, y = vector.flat(buffers["x"], (rows, extent)), vector.flat(buffers["y"], (rows, extent))
        places, state = scratch((2, extent), "int32"), T.alloc_buffer((4,), "int32")
        count = T.bind(T.Cast("int32", extent))
        with T.serial(rows) as row:
            with T.serial(extent) as at:
                T.buffer_store(places, T.Cast("int32", at), [0, at])
            T.buffer_store(state, T.int32(1), [WIDTH])
            T.buffer_store(state, T.int32(0), [SOURCE])
            with T.serial(DOUBLINGS), when(state[WIDTH] < count):
                _merge_runs(x, row, places, state, count, descending)
            with T.serial(extent) as at:
                T.buffer_store(y, T.Cast("int64", places[state[SOURCE], at]), [row, at])

    params = (Param("x", (*leading, extent), dtype), Param("y", (*leading, extent), "int64", "output"))
    order = "down" if descending else "up"
    return Kernel(f"sort_places_{shape_name((*leading, extent))}_{dtype}_{order}", params, emit)


def _merge_runs(x: Any, row: Any, places: Any, state: Any, count: Any, descending: bool) -> None:
    """Merge all pairs of neighbouring runs of a row into the other row of places."""
    width, source = T.bind(state[WIDTH]), T.bind(state[SOURCE])
    with T.serial(quotient(count + (2 * width - 1), 2 * width)) as pair:
        low = T.bind(pair * (2 * width))
        middle, high = (T.bind(T.min(low + runs * width, count)) for runs in (1, 2))
        T.buffer_store(state, low, [LEFT])
        T.buffer_store(state, middle, [RIGHT])
        with T.serial(high - low) as at:
            left, right = T.bind(state[LEFT]), T.bind(state[RIGHT])
            # The place behind a run's last is read, but not used.
            first, second = (T.bind(places[source, T.min(one, count - 1)]) for one in (left, right))
            sooner = _before(x[row, second], x[row, first], descending)
            taken = T.bind(tirx.any(left >= middle, tirx.all(right < high, sooner)))
            T.buffer_store(places, T.Select(taken, second, first), [1 - source, low + at])
            T.buffer_store(state, left + T.Select(taken, T.int32(0), T.int32(1)), [LEFT])
            T.buffer_store(state, right + T.Select(taken, T.int32(1), T.int32(0)), [RIGHT])
    T.buffer_store(state, width * 2, [WIDTH])
    T.buffer_store(state, 1 - source, [SOURCE])


def _before(one: Any, other: Any, descending: bool) -> Any:
    """Return whether an element has to precede another one that preceded it."""
    one, other = T.bind(one), T.bind(other)
    if not str(one.ty.dtype).startswith("float"):
        return one > other if descending else one < other
    low, high = (other, one) if descending else (one, other)
    return tirx.any(low < high, tirx.all(tirx.isnan(high), tirx.Not(tirx.isnan(low))))
