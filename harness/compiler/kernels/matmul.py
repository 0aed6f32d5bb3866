"""Matrix products with weights packed into panels, for any number of rows.

A weight [K, N] lies in memory as [ceil(N / columns), K, columns]: one panel's row is a few vector registers,
and the inner loop reads it once from start to end. The last panel is filled with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.script import tirx as T

from harness.compiler.profiles import Profile

F32 = "float32"


def pack(weight: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    """[K, N] to panels [ceil(N / columns), K, columns], zero-filled."""
    depth, width = weight.shape
    panels = -(-width // columns)
    padded = np.zeros((depth, panels * columns), np.float32)
    padded[:, :width] = weight
    return np.ascontiguousarray(padded.reshape(depth, panels, columns).transpose(1, 0, 2))


def packed_vector_matmul(profile: Profile, depth: int, width: int) -> Any:
    """A kernel (x [1, K], panels, y [1, N]): one row times the packed weight, bound by reading it once."""
    columns = profile.vector_columns
    panels, tail = -(-width // columns), width % columns

    @T.prim_func
    def kernel(
        x: T.Buffer((1, depth), F32), w: T.Buffer((panels, depth, columns), F32), y: T.Buffer((1, width), F32)
    ) -> None:
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        for panel in T.serial(panels):
            acc = T.alloc_buffer((columns,), F32)
            for c in T.vectorized(columns):
                acc[c] = T.float32(0)
            for k in T.serial(depth):
                for c in T.vectorized(columns):
                    acc[c] = acc[c] + x[0, k] * w[panel, k, c]
            if tail > 0:
                if panel == panels - 1:
                    for c in T.serial(tail):
                        y[0, panel * columns + c] = acc[c]
                else:
                    for c in T.vectorized(columns):
                        y[0, panel * columns + c] = acc[c]
            else:
                for c in T.vectorized(columns):
                    y[0, panel * columns + c] = acc[c]

    return kernel


def packed_matmul(profile: Profile, depth: int, width: int) -> Any:
    """A kernel (x [M, K], panels, y [M, N]) for any M.

    Rows are cut into tiles of ``profile.rows``; the last tile is moved back over rows already done, so every
    tile is full. With fewer rows than a tile the last row is computed more than once, with the same result.
    """
    columns, rows = profile.columns, profile.rows
    half = rows // 2
    panels, tail = -(-width // columns), width % columns

    @T.inline
    def store(y, acc, first, total, panel):  # type: ignore[no-untyped-def]
        for r in T.unroll(half):
            if tail > 0:
                if panel == panels - 1:
                    for c in T.serial(tail):
                        y[T.min(first + r, total - 1), panel * columns + c] = acc[r, c]
                else:
                    for c in T.vectorized(columns):
                        y[T.min(first + r, total - 1), panel * columns + c] = acc[r, c]
            else:
                for c in T.vectorized(columns):
                    y[T.min(first + r, total - 1), panel * columns + c] = acc[r, c]

    @T.prim_func
    def kernel(x_handle: T.handle, w: T.Buffer((panels, depth, columns), F32), y_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        m = T.int64()
        x = T.match_buffer(x_handle, (m, depth), F32)
        y = T.match_buffer(y_handle, (m, width), F32)
        for panel in T.serial(panels):
            for tile in T.serial((m + (rows - 1)) // rows):
                first = T.alloc_buffer((1,), "int64")
                upper = T.alloc_buffer((half, columns), F32)
                lower = T.alloc_buffer((half, columns), F32)
                first[0] = T.max(T.min(tile * rows, m - rows), T.int64(0))
                for r in T.unroll(half):
                    for c in T.vectorized(columns):
                        upper[r, c] = T.float32(0)
                    for c in T.vectorized(columns):
                        lower[r, c] = T.float32(0)
                for k in T.serial(depth):
                    for r in T.unroll(half):
                        for c in T.vectorized(columns):
                            upper[r, c] = upper[r, c] + x[T.min(first[0] + r, m - 1), k] * w[panel, k, c]
                    for r in T.unroll(half):
                        for c in T.vectorized(columns):
                            lower[r, c] = lower[r, c] + x[T.min(first[0] + half + r, m - 1), k] * w[panel, k, c]
                store(y, upper, first[0], m, panel)
                store(y, lower, first[0] + half, m, panel)

    return kernel


def batch_matmul() -> Any:
    """A kernel (a [B, M, K], b [B, K, N], c [B, M, N]) for products of two activations of any size.

    The innermost loop runs over contiguous columns, which LLVM vectorises for any length.
    """

    @T.prim_func
    def kernel(a_handle: T.handle, b_handle: T.handle, c_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        batch, m, n, depth = T.int64(), T.int64(), T.int64(), T.int64()
        a = T.match_buffer(a_handle, (batch, m, depth), F32)
        b = T.match_buffer(b_handle, (batch, depth, n), F32)
        c = T.match_buffer(c_handle, (batch, m, n), F32)
        for i in T.serial(batch):
            for r in T.serial(m):
                for j in T.serial(n):
                    c[i, r, j] = T.float32(0)
                for k in T.serial(depth):
                    for j in T.serial(n):
                        c[i, r, j] = c[i, r, j] + a[i, r, k] * b[i, k, j]

    return kernel
