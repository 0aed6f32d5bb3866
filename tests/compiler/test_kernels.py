"""The kernels against numpy, over sizes that are no multiple of anything, on every x86 profile this CPU runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm

from harness.compiler.kernels import attention, matmul
from harness.compiler.lower import tvm_target
from harness.compiler.profiles import AVX2, AVX512, NEON, Profile
from harness.compiler.targets import resolve_target

HOST = resolve_target("llvm")
PROFILES = [AVX2, AVX512, NEON]
"""Tile sizes are plain loops to the compiler: every profile must be right on every CPU, if not fast."""


def build(kernel: Any) -> Any:
    return tvm.compile(tvm.IRModule({"kernel": kernel.with_attr("global_symbol", "kernel")}), tvm_target(HOST))[
        "kernel"
    ]


def tensor(array: npt.NDArray[Any]) -> Any:
    return tvm.runtime.tensor(np.ascontiguousarray(array))


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (7, 5), (48, 96), (33, 65), (64, 200)])
def test_packed_matmul_for_any_number_of_rows(profile: Profile, depth: int, width: int) -> None:
    kernel = build(matmul.packed_matmul(profile, depth, width))
    weight = rng(depth, width).standard_normal((depth, width)).astype(np.float32)
    panels = tensor(matmul.pack(weight, profile.columns))
    for rows in (1, 2, 5, 6, 7, 12, 13, 31, 64):
        x = rng(rows).standard_normal((rows, depth)).astype(np.float32)
        y = tensor(np.full((rows, width), np.nan, np.float32))
        kernel(tensor(x), panels, y)
        np.testing.assert_allclose(y.numpy(), x @ weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (7, 5), (48, 64), (65, 130)])
def test_packed_vector_matmul(profile: Profile, depth: int, width: int) -> None:
    weight = rng(depth, width).standard_normal((depth, width)).astype(np.float32)
    x = rng(1).standard_normal((1, depth)).astype(np.float32)
    y = tensor(np.full((1, width), np.nan, np.float32))
    build(matmul.packed_vector_matmul(profile, depth, width))(
        tensor(x), tensor(matmul.pack(weight, profile.vector_columns)), y
    )
    np.testing.assert_allclose(y.numpy(), x @ weight, rtol=1e-5, atol=1e-5)


def test_packing_fills_the_last_panel_with_zeros() -> None:
    packed = matmul.pack(np.ones((3, 5), np.float32), 4)
    assert packed.shape == (2, 3, 4)
    assert packed[1, :, 1:].sum() == 0
    assert packed.sum() == 15


def test_batch_matmul_for_any_size() -> None:
    kernel = build(matmul.batch_matmul())
    for batch, rows, depth, width in ((1, 1, 1, 1), (3, 5, 7, 2), (6, 19, 64, 19), (2, 1, 33, 64)):
        a = rng(rows).standard_normal((batch, rows, depth)).astype(np.float32)
        b = rng(width).standard_normal((batch, depth, width)).astype(np.float32)
        c = tensor(np.full((batch, rows, width), np.nan, np.float32))
        kernel(tensor(a), tensor(b), c)
        np.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-5, atol=1e-5)


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(scores - scores.max())
    result: npt.NDArray[np.float32] = powers / powers.sum()
    return result


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
@pytest.mark.parametrize(("batch", "heads", "d_kv"), [(1, 4, 64), (2, 3, 16), (3, 1, 5)])
def test_attend_cache_writes_only_its_position(profile: Profile, batch: int, heads: int, d_kv: int) -> None:
    capacity, layers, layer, width = 9, 2, 1, heads * d_kv
    kernel = build(attention.attend_cache(profile, batch, heads, d_kv, capacity, layers, layer))
    bias = rng(1).standard_normal((heads, capacity)).astype(np.float32)
    for position in (0, 3, capacity - 1):
        cache = rng(position).standard_normal((layers, 2, batch, capacity, width)).astype(np.float32)
        cache[:, :, :, position:] = np.nan  # nothing beyond the position may be read
        qkv = rng(position, 2).standard_normal((batch, 3 * width)).astype(np.float32)
        compiled, context = tensor(cache), tensor(np.full((batch, width), np.nan, np.float32))
        kernel(tensor(qkv), tensor(bias), tensor(np.array([position], np.int32)), compiled, context)

        cache[layer, 0, :, position] = qkv[:, width : 2 * width]
        cache[layer, 1, :, position] = qkv[:, 2 * width :]
        np.testing.assert_array_equal(compiled.numpy(), cache)
        for row in range(batch):
            for head in range(heads):
                part = slice(head * d_kv, (head + 1) * d_kv)
                keys, values = cache[layer, :, row, : position + 1, part]
                weights = softmax(keys @ qkv[row, part] + bias[head, position - np.arange(position + 1)])
                np.testing.assert_allclose(context.numpy()[row, part], weights @ values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_attend_encoder_reads_only_each_rows_length(profile: Profile) -> None:
    batch, heads, d_kv, layers, layer, longest = 3, 3, 16, 2, 1, 11
    width = heads * d_kv
    kernel = build(attention.attend_encoder(profile, batch, heads, d_kv, longest, layers, layer))
    lengths = np.array([longest, 1, 4], np.int32)
    cache = rng(5).standard_normal((batch, longest, layers, 2, width)).astype(np.float32)
    for row, length in enumerate(lengths):
        cache[row, length:] = np.nan
    query = rng(6).standard_normal((batch, width)).astype(np.float32)
    context = tensor(np.full((batch, width), np.nan, np.float32))
    kernel(tensor(query), tensor(lengths), tensor(cache), context)
    for row, length in enumerate(lengths):
        for head in range(heads):
            part = slice(head * d_kv, (head + 1) * d_kv)
            keys, values = cache[row, :length, layer, 0, part], cache[row, :length, layer, 1, part]
            expected = softmax(keys @ query[row, part]) @ values
            np.testing.assert_allclose(context.numpy()[row, part], expected, rtol=1e-4, atol=1e-5)


def test_a_tile_that_would_become_heap_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1,024 bytes"):
        Profile("wide", lanes=16, columns=128, rows=6, vector_columns=64)
