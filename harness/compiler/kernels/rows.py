"""Define small kernels over rows: embedding lookup, argmax, copy."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import Cost, elements, sizes
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.vector import chunks, load, span, store
from harness.compiler.targets.profiles import Profile


def embedding(profile: Profile, leading: tuple[Dim, ...], ids: str, count: int, width: int, dtype: str) -> Kernel:
    """Return the kernel: (ids [...], table [V, D] in ``dtype``) to rows of the table [..., D].

    Ids must be below V, unchecked.
    """

    def emit(buffers: Buffers) -> None:
        table = buffers["table"]
        rows = vector.rows_of(buffers["y"])
        ids_, y = vector.flat(buffers["ids"], (rows,)), vector.flat(buffers["y"], (rows, width))
        with T.serial(rows) as row:
            at = T.bind(ids_[row])

            def body(d: Any, lanes: int) -> None:
                store(y, load(table, at, d, lanes=lanes), row, d, lanes=lanes)

            chunks(width, profile.lanes, body)

    params = (
        Param("ids", leading, ids),
        Param("table", (count, width), dtype, "weight"),
        Param("y", (*leading, width), role="output"),
    )

    def cost(buffers: Buffers) -> Cost:
        return Cost(sizes((buffers["ids"], buffers["y"])) + elements(buffers["y"]) * vector.BYTES[dtype])

    return Kernel(f"embedding_{shape_name(leading)}_{count}_{width}_{ids}_{dtype}", params, emit, cost)


def argmax(profile: Profile, leading: tuple[Dim, ...], width: int, dtype: str) -> Kernel:
    """Return the kernel: (x [..., V]) to the index of each row's highest value [...].

    It is the lowest index of equal values, or of NaN, as in torch.
    """
    lanes = profile.lanes

    def emit(buffers: Buffers) -> None:
        rows = vector.rows_of(buffers["x"])
        x, y = vector.flat(buffers["x"], (rows, width)), vector.flat(buffers["y"], (rows,))
        with T.serial(rows) as row:

            def combine(total: Any, v: Any, count: int) -> Any:
                return vector.highest(total, x[row, span(v, count)])

            top = T.bind(vector.highest(*vector.fold_row(width, lanes, x[row, 0], combine, vector.reduce_highest)))
            T.buffer_store(y, T.Cast(dtype, T.int32(0)), [row])
            # The loop runs from the end, so that the first of equal values stays.
            with T.serial(width) as back:
                value = x[row, width - 1 - back]
                with vector.when(T.Or(value == top, tirx.isnan(value))):
                    T.buffer_store(y, T.Cast(dtype, width - 1 - back), [row])

    params = (Param("x", (*leading, width)), Param("y", leading, dtype, role="output"))
    return Kernel(f"argmax_{shape_name(leading)}_{width}_{dtype}", params, emit)


def copy_kernel(shape: tuple[Dim, ...], dtype: str) -> Kernel:
    """Return the kernel: (source [...]) to target [...]."""

    def emit(buffers: Buffers) -> None:
        extents = list(buffers["source"].shape)
        total: Any = 1
        for extent in extents:
            total = total * extent
        source, target = (vector.flat(buffers[name], (total,)) for name in ("source", "target"))
        with T.serial(total) as at:
            T.buffer_store(target, source[at], [at])

    params = (Param("source", shape, dtype), Param("target", shape, dtype, "output"))
    return Kernel(f"copy_{shape_name(shape)}_{dtype}", params, emit)
