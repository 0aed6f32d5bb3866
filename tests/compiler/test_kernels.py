"""Norms, attention, caches and row kernels against numpy, on tile sizes of every instruction set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tvm.tirx.script import builder as T

from harness.compiler.kernels import attention, attention_rows, rows
from harness.compiler.kernels.attention import Heads
from harness.compiler.kernels.attention_rows import AllRows, Side
from harness.compiler.kernels.batch_product import batch_product
from harness.compiler.kernels.fixed_product import fixed_product
from harness.compiler.kernels.kernel import Kernel, Param
from harness.compiler.kernels.norm import norm_kernel
from harness.compiler.kernels.vector import ACTIVATIONS, exp, load, store
from harness.compiler.targets.profiles import AVX2, AVX512, NEON, Profile
from tests.compiler.kernels import Float32, build, empty, gelu_tanh, layer, normal, rms, tensor

pytestmark = pytest.mark.compiler

PROFILES = [AVX2, AVX512, NEON]
"""Tile sizes are plain loops to the compiler: every profile must be right on every CPU, if not fast."""
each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)


def softmax(scores: Float32) -> Float32:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    result: Float32 = powers / powers.sum(-1, keepdims=True)
    return result


def elementwise(function: Any, count: int, lanes: int) -> Kernel:
    def emit(buffers: Any) -> None:
        with T.serial(count // lanes) as at:
            store(buffers["y"], function(load(buffers["x"], at * lanes, lanes=lanes), lanes), at * lanes, lanes=lanes)

    return Kernel("elementwise", (Param("x", (count,)), Param("y", (count,), role="output")), emit)


@pytest.mark.parametrize("lanes", [1, 8])
def test_exp_is_right_to_float32_rounding(lanes: int) -> None:
    x = np.concatenate([np.linspace(-60, 60, 4000), [0.0, -0.0, 1e-39, -1e30, 1e30, *[1.0] * 3]]).astype(np.float32)
    y = empty(len(x))
    build(elementwise(exp, len(x), lanes))(tensor(x), y)
    np.testing.assert_allclose(y.numpy(), np.exp(np.clip(x, -60, 60)), rtol=5e-6)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations(name: str) -> None:
    x = np.linspace(-30, 30, 4096).astype(np.float32)
    expected = {
        "gelu_tanh": gelu_tanh(x),
        "gelu": x * 0.5 * (1 + np.array([math.erf(float(e) / np.sqrt(2)) for e in x])),
        "silu": x / (1 + np.exp(-x)),
        "relu": np.maximum(x, 0),
    }[name]
    y = empty(len(x))
    build(elementwise(ACTIVATIONS[name], len(x), 8))(tensor(x), y)
    np.testing.assert_allclose(y.numpy(), expected, atol=3e-6, rtol=3e-6)


@each_profile
@pytest.mark.parametrize("width", [1, 5, 64, 200])
def test_norms(profile: Profile, width: int) -> None:
    x, gain, shift = normal(3, 7, width), normal(width, seed=1), normal(width, seed=2)
    y = empty(3, 7, width)
    build(norm_kernel(profile, "rms", ("b", 7), width, 1e-6))(tensor(x), tensor(gain), y)
    np.testing.assert_allclose(y.numpy(), rms(x, gain, 1e-6), rtol=2e-5, atol=1e-6)
    build(norm_kernel(profile, "layer", (3, "s"), width, 1e-5))(tensor(x), tensor(gain), tensor(shift), y)
    np.testing.assert_allclose(y.numpy(), layer(x, gain, shift, 1e-5), rtol=1e-4, atol=1e-4)


def test_batch_product_for_any_size() -> None:
    for batch, m, depth, n in ((1, 1, 1, 1), (3, 5, 7, 2), (6, 19, 64, 19), (2, 1, 33, 64)):
        kernel = build(batch_product((batch,), "m", n, "k"))
        a, b, c = normal(batch, m, depth), normal(batch, depth, n, seed=1), empty(batch, m, n)
        kernel(tensor(a), tensor(b), c)
        np.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-5, atol=1e-5)


@each_profile
def test_products_of_known_size(profile: Profile) -> None:
    """One row and many, columns that fill no vector, one that is narrower than any, a depth of one."""
    for leading, m, depth, n in (
        ((), 1, 1, 1),
        ((2,), 5, 9, 3),
        ((2, 2), 19, 33, 39),
        ((3,), 7, 64, 16),
        ((1,), 1, 40, 200),
    ):
        kernel = build(fixed_product(profile, leading, m, n, depth))
        a, b, c = normal(*leading, m, depth), normal(*leading, depth, n, seed=1), empty(*leading, m, n)
        kernel(tensor(a), tensor(b), c)
        np.testing.assert_allclose(c.numpy(), a @ b, rtol=1e-5, atol=2e-5)


@pytest.mark.thorough(keep=["2-*-neon", "2-*-avx2"])
@each_profile
@pytest.mark.parametrize(("batch", "heads", "size"), [(1, 4, 64), (2, 3, 20), (17, 1, 5)])
def test_all_rows_attend_to_all_rows(profile: Profile, batch: int, heads: int, size: int) -> None:
    width = heads * size
    for bias_shape in ((1, heads, "n", "n"), (batch, 1, 1, "n")):
        sides = (Side("qkv", 3 * width, 0), Side("qkv", 3 * width, width), Side("qkv", 3 * width, 2 * width))
        shape = AllRows(Heads(heads, size), 0.7, batch, "n", "n", sides, bias_shape)
        kernel = build(attention_rows.attend_all(profile, shape))
        for n in (1, 3, 19, 33):
            qkv = normal(batch, n, 3 * width)
            bias = normal(*(n if extent == "n" else int(extent) for extent in bias_shape))
            context = empty(batch, n, width)
            kernel(tensor(qkv), tensor(bias), context)
            q, k, v = (part.reshape(batch, n, heads, size).swapaxes(1, 2) for part in np.split(qkv, 3, axis=-1))
            expected = (softmax(0.7 * q @ k.swapaxes(2, 3) + bias) @ v).swapaxes(1, 2).reshape(batch, n, width)
            np.testing.assert_allclose(context.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_attention_across_two_sequences_without_a_bias() -> None:
    sides = (Side("q", 12, 0), Side("kv", 24, 0), Side("kv", 24, 12))
    kernel = build(attention_rows.attend_all(AVX2, AllRows(Heads(3, 4), 1.0, "b", "n", "m", sides, None)))
    q, kv, context = normal(2, 5, 12), normal(2, 21, 24), empty(2, 5, 12)
    kernel(tensor(q), tensor(kv), context)
    split = [x.reshape(2, -1, 3, 4).swapaxes(1, 2) for x in (q, kv[..., :12], kv[..., 12:])]
    expected = (softmax(split[0] @ split[1].swapaxes(2, 3)) @ split[2]).swapaxes(1, 2).reshape(2, 5, 12)
    np.testing.assert_allclose(context.numpy(), expected, rtol=1e-4, atol=1e-5)


@each_profile
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("heads", "size"), [(4, 64), (3, 16), (1, 5)])
def test_a_step_appends_and_attends_to_what_came_before(profile: Profile, dtype: str, heads: int, size: int) -> None:
    capacity, layers, layer_, batch, width = 32, 2, 1, 3, heads * size
    kernel = build(
        attention.append_and_attend(profile, Heads(heads, size), "b", batch, capacity, layers, layer_, dtype)
    )
    bias, active = normal(heads, 2 * capacity), np.array([2, 0], np.int32)
    cache = tensor(np.zeros((batch, layers, 2, capacity * width), dtype))
    history: list[Float32] = []
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    for position in range(capacity):
        history.append(normal(2, 3 * width, seed=position))
        context = empty(2, width)
        at = tensor(np.array([position], np.int32))
        kernel(tensor(history[-1]), tensor(bias), tensor(active), at, cache, context)
        so_far = np.stack(history, 1)
        q = history[-1][:, :width].reshape(2, heads, 1, size)
        k, v = (
            so_far[..., part * width : (part + 1) * width].reshape(2, -1, heads, size).swapaxes(1, 2) for part in (1, 2)
        )
        scores = q @ k.swapaxes(2, 3) + bias[None, :, None, capacity - 1 - position : capacity]
        expected = (softmax(scores) @ v).reshape(2, width)
        np.testing.assert_allclose(context.numpy(), expected, rtol=tolerance, atol=tolerance)
    untouched = cache.numpy()
    assert not untouched[1].any()
    assert not untouched[:, 0].any()


@each_profile
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_is_read_up_to_each_rows_length(profile: Profile, dtype: str) -> None:
    heads, size, capacity, layers, layer_, batch = 3, 20, 32, 2, 1, 3
    width = heads * size
    put = build(attention.store_memory(profile, Heads(heads, size), batch, capacity, layers, dtype))
    attend = build(attention.attend_memory(profile, Heads(heads, size), "b", batch, capacity, layers, layer_, dtype))
    lengths = np.array([5, 29, 17], np.int32)
    source = normal(batch, 29, layers * 2 * width)
    memory, query, context = empty(batch, layers, 2, capacity * width, dtype=dtype), normal(2, width), empty(2, width)
    put(tensor(source), memory)
    attend(tensor(query), tensor(np.array([1, 0], np.int32)), tensor(lengths), memory, context)
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    for i, row in enumerate((1, 0)):
        parts = source[row, : lengths[row]].reshape(-1, layers, 2, heads, size)[:, layer_]
        weights = softmax(np.einsum("hd,thd->ht", query[i].reshape(heads, size), parts[:, 0]))
        expected = np.einsum("ht,thd->hd", weights, parts[:, 1]).reshape(-1)
        np.testing.assert_allclose(context.numpy()[i], expected, rtol=tolerance, atol=tolerance)


@each_profile
def test_embedding_and_argmax(profile: Profile) -> None:
    ids = np.array([[0, 69, 7], [3, 3, 1]], np.int32)
    for dtype in ("float32", "float16"):
        table, y = normal(70, 37).astype(dtype), empty(2, 3, 37)
        build(rows.embedding(profile, (2, "s"), "int32", 70, 37, dtype))(tensor(ids), tensor(table), y)
        np.testing.assert_array_equal(y.numpy(), table[ids].astype(np.float32))
    argmax = build(rows.argmax(profile, ("b",), 70, "int32"))
    x = np.random.default_rng(0).integers(0, 9, (64, 70)).astype(np.float32)
    x[0], x[1] = -5.0, np.arange(70)
    best = empty(64, dtype="int32")
    argmax(tensor(x), best)
    np.testing.assert_array_equal(best.numpy(), x.argmax(1))


def test_outputs_come_last() -> None:
    with pytest.raises(ValueError, match="outputs come last"):
        Kernel("wrong", (Param("y", (1,), role="output"), Param("x", (1,))), lambda _: None)
