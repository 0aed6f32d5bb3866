"""Compute products of two activations, of extents that are known only when they run."""

from __future__ import annotations

from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import elements, integer, reading_all
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.parallel import estimated, is_worth, rounds


def batch_product(leading: tuple[Dim, ...], rows: Dim, columns: Dim, depth: Dim) -> Kernel:
    """Return the kernel: (a [..., M, K], b [..., K, N]) to c [..., M, N], of any size.

    The innermost loop runs over contiguous columns, which LLVM vectorises for any length.
    """

    def emit(buffers: Buffers) -> None:
        *outer, m, n = list(buffers["c"].shape)
        k_extent = list(buffers["a"].shape)[-1]
        batch: Any = 1
        for extent in outer:
            batch = batch * extent
        a = vector.flat(buffers["a"], (batch, m, k_extent))
        b = vector.flat(buffers["b"], (batch, k_extent, n))
        c = vector.flat(buffers["c"], (batch, m, n))
        worth = is_worth(estimated(*outer, m, n, k_extent) / 16)
        with rounds(batch * m, worth=worth) as number:
            i = T.bind(vector.quotient(number, m))
            r = T.bind(number - i * m)
            with T.serial(n) as j:
                T.buffer_store(c, T.float32(0), [i, r, j])
            with T.serial(k_extent) as k, T.serial(n) as j:
                T.buffer_store(c, c[i, r, j] + a[i, r, k] * b[i, k, j], [i, r, j])

    params = (
        Param("a", (*leading, rows, depth)),
        Param("b", (*leading, depth, columns)),
        Param("c", (*leading, rows, columns), role="output"),
    )

    def flops(buffers: Buffers) -> Any:
        return 2 * elements(buffers["c"]) * integer(list(buffers["a"].shape)[-1])

    return Kernel(f"batch_product_{shape_name((*leading, rows, columns, depth))}", params, emit, reading_all(flops))
