"""Compute attention of one new row to a cache, as in a decoder's step.

Scores are computed for whole vectors of keys, so keys lie transposed in blocks of ``lanes`` positions: a cache of
capacity C holds the keys of a head as [C / lanes, K, lanes] and the values as [C, K]. Widths: H heads of K, G = H * K.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import Cost, elements, integer, size, sizes
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import (
    cast,
    chunks,
    exp,
    f32,
    get,
    load,
    put,
    quotient,
    registers,
    span,
    splat,
    store,
)
from harness.compiler.targets.profiles import Profile

LOWEST = -3.0e38
"""The score of a missing key."""
PARTIAL_SUMS = 4
"""The number of independent sums of a dot product over K, which hide the latency of the multiply-adds."""


@dataclass(frozen=True)
class Heads:
    """Hold the number and size of heads; lengths are in floats."""

    count: int
    size: int

    @property
    def width(self) -> int:
        return self.count * self.size


@dataclass(frozen=True)
class Cache:
    """Hold the keys and values of one layer and row within a cache tensor [B, L, 2, capacity * G]."""

    keys: Any
    values: Any


def _layer(buffer: Any, row: Any, layer: int, layers: int, capacity: int, heads: Heads, lanes: int) -> Cache:
    size = capacity * heads.width
    blocks = (heads.count, capacity // lanes, heads.size, lanes)

    def part(which: int, shape: tuple[int, ...]) -> Any:
        return vector.view(buffer, shape, row * (layers * 2 * size) + (layer * 2 + which) * size)

    return Cache(part(0, blocks), part(1, (heads.count, capacity, heads.size)))


def _attend(
    query: Any,
    row: Any,
    head: Any,
    cache: Cache,
    last: Any,
    bias: Any,
    context: Any,
    heads: Heads,
    capacity: int,
    lanes: int,
) -> None:
    """Emit one head of one row, which attends to positions 0 .. ``last``; ``bias(chunk)`` is added to its scores."""
    size = heads.size
    blocks = T.bind(quotient(last + lanes, lanes))
    scores = scratch((capacity,))
    (highest,) = registers(1, lanes)
    put(highest, f32(LOWEST, lanes), lanes)
    with T.serial(blocks) as block:
        sums = registers(PARTIAL_SUMS, lanes)
        for register in sums:
            put(register, f32(0.0, lanes), lanes)
        with T.serial(size // PARTIAL_SUMS) as d:
            for part, register in enumerate(sums):
                at = d * PARTIAL_SUMS + part
                key = load(cache.keys, head, block, at, 0, lanes=lanes)
                put(register, get(register, lanes) + splat(query[row, head * size + at], lanes) * key, lanes)
        for at in range(size - size % PARTIAL_SUMS, size):
            key = load(cache.keys, head, block, at, 0, lanes=lanes)
            put(sums[0], get(sums[0], lanes) + splat(query[row, head * size + at], lanes) * key, lanes)
        first, second, third, fourth = (get(register, lanes) for register in sums)
        score = (first + second) + (third + fourth)
        if bias is not None:
            score = score + bias(block * lanes)
        position = T.ramp(block * lanes, 1, lanes)
        score = T.bind(T.Select(position <= splat(last, lanes), score, f32(LOWEST, lanes)))
        store(scores, score, block * lanes, lanes=lanes)
        put(highest, T.max(get(highest, lanes), score), lanes)
    top = T.bind(vector.reduce_max(highest, lanes))
    (total,) = registers(1, lanes)
    put(total, f32(0.0, lanes), lanes)
    with T.serial(blocks) as block:
        weight = T.bind(exp(load(scores, block * lanes, lanes=lanes) - splat(top, lanes), lanes))
        store(scores, weight, block * lanes, lanes=lanes)
        put(total, get(total, lanes) + weight, lanes)
    inverse = T.bind(T.float32(1.0) / vector.reduce_sum(total, lanes))
    whole, rest = size // lanes, size % lanes
    sums = registers(whole, lanes)
    singles = registers(rest, 1)
    for register in sums:
        put(register, f32(0.0, lanes), lanes)
    for register in singles:
        put(register, f32(0.0), 1)
    with T.serial(last + 1) as t:
        for v, register in enumerate(sums):
            value = load(cache.values, head, t, v * lanes, lanes=lanes)
            put(register, get(register, lanes) + splat(scores[t], lanes) * value, lanes)
        for v, register in enumerate(singles):
            put(register, register[0] + scores[t] * load(cache.values, head, t, whole * lanes + v, lanes=1), 1)
    for v, register in enumerate(sums):
        store(context, get(register, lanes) * splat(inverse, lanes), row, head * size + v * lanes, lanes=lanes)
    for v, register in enumerate(singles):
        store(context, register[0] * inverse, row, head * size + whole * lanes + v, lanes=1)


def append_and_attend(
    profile: Profile, heads: Heads, rows: Dim, batch: int, capacity: int, layers: int, layer: int, dtype: str
) -> Kernel:
    """Append this position's key and value to the cache in place, then attend to all positions so far.

    (qkv [b, 3G], distance_bias [H, >= 2C], rows int32[b], position int32[1], cache [B, L, 2, C * G], written) to
    context [b, G]. ``rows[i]`` is the cache's row of row i; ``distance_bias[h, C - 1 - d]`` is added for a key d
    positions back.
    """
    lanes, width = profile.lanes, heads.width

    def emit(buffers: Buffers) -> None:
        qkv, position, context = buffers["qkv"], buffers["position"], buffers["context"]
        bias = buffers["distance_bias"]
        at = T.bind(position[0])
        with T.serial(vector.rows_of(qkv)) as i:
            cache = _layer(buffers["cache"], buffers["rows"][i], layer, layers, capacity, heads, lanes)
            with T.serial(heads.count) as head:
                with T.serial(heads.size) as d:
                    key = cast(dtype, qkv[i, width + head * heads.size + d], 1)
                    block = quotient(at, lanes)
                    T.buffer_store(cache.keys, key, [head, block, d, at - block * lanes])

                def put_value(d: Any, count: int, head: Any = head, i: Any = i, cache: Any = cache) -> None:
                    value = qkv[i, span(2 * width + head * heads.size + d, count)]
                    T.buffer_store(cache.values, cast(dtype, value, count), [head, at, span(d, count)])

                chunks(heads.size, lanes, put_value)

                def score_bias(t: Any, head: Any = head) -> Any:
                    return load(bias, head, t + (capacity - 1) - at, lanes=lanes)

                _attend(qkv, i, head, cache, at, score_bias, context, heads, capacity, lanes)

    params = (
        Param("qkv", (rows, 3 * width)),
        Param("distance_bias", (heads.count, 2 * capacity), role="weight"),
        Param("rows", (rows,), "int32"),
        Param("position", (1,), "int32"),
        Param("cache", (batch, layers, 2, capacity * width), dtype, "inout"),
        Param("context", (rows, width), role="output"),
    )
    name = f"append_and_attend_{rows}_{batch}_{heads.count}x{heads.size}_{capacity}_{layers}_{layer}_{dtype}"

    def cost(buffers: Buffers) -> Cost:
        seen = integer(buffers["position"][0]) + 1
        found = _cost(buffers, "qkv", seen, heads, dtype)
        return Cost(found.bytes + size(buffers["position"]) + heads.count * seen * 4, found.flops)

    return Kernel(name, params, emit, cost)


def attend_memory(
    profile: Profile, heads: Heads, rows: Dim, batch: int, capacity: int, layers: int, layer: int, dtype: str
) -> Kernel:
    """Attend to the memory of :func:`store_memory`, up to each row's own length.

    (query [b, G], rows int32[b], lengths int32[B], memory [B, L, 2, C * G]) to context [b, G].
    """

    def emit(buffers: Buffers) -> None:
        query, rows_, lengths = buffers["query"], buffers["rows"], buffers["lengths"]
        with T.serial(vector.rows_of(query)) as i:
            row = T.bind(rows_[i])
            memory = _layer(buffers["memory"], row, layer, layers, capacity, heads, profile.lanes)
            last = T.bind(lengths[row] - 1)
            with T.serial(heads.count) as head:
                _attend(query, i, head, memory, last, None, buffers["context"], heads, capacity, profile.lanes)

    params = (
        Param("query", (rows, heads.width)),
        Param("rows", (rows,), "int32"),
        Param("lengths", (batch,), "int32"),
        Param("memory", (batch, layers, 2, capacity * heads.width), dtype),
        Param("context", (rows, heads.width), role="output"),
    )
    name = f"attend_memory_{rows}_{batch}_{heads.count}x{heads.size}_{capacity}_{layers}_{layer}_{dtype}"

    def cost(buffers: Buffers) -> Cost:
        # The first row's length is taken for all, because items of like lengths share a batch.
        return _cost(buffers, "query", integer(buffers["lengths"][buffers["rows"][0]]), heads, dtype)

    return Kernel(name, params, emit, cost)


def _cost(buffers: Buffers, query: str, seen: Any, heads: Heads, dtype: str) -> Cost:
    """Return the cost of rows that attend to ``seen`` positions each."""
    count = elements(buffers["rows"])
    positions = count * seen * (heads.width * vector.BYTES[dtype] * 2)
    return Cost(sizes(buffers[n] for n in (query, "rows", "context")) + positions, 4 * heads.width * count * seen)


def store_memory(profile: Profile, heads: Heads, batch: int, capacity: int, layers: int, dtype: str) -> Kernel:
    """Store keys and values of the encoder's rows [B, S, L * 2 * G] in memory [B, L, 2, C * G], S <= C.

    The rest of the last block of keys is filled with zeros, because old numbers there may be denormal, and slow.
    """
    lanes, width = profile.lanes, heads.width

    def emit(buffers: Buffers) -> None:
        source = buffers["source"]
        length = T.bind(T.Cast("int32", list(source.shape)[1]))
        blocks = T.bind(quotient(length + (lanes - 1), lanes))
        with T.serial(batch) as row:
            for layer in range(layers):
                memory = _layer(buffers["memory"], row, layer, layers, capacity, heads, lanes)
                with T.serial(heads.count) as head:
                    start = layer * 2 * width + head * heads.size
                    with T.serial(blocks) as block, T.serial(lanes) as lane:
                        t = T.bind(T.min(block * lanes + lane, length - 1))
                        with T.serial(heads.size) as d:
                            inside = block * lanes + lane < length
                            key = T.Select(inside, source[row, t, start + d], T.float32(0))
                            T.buffer_store(memory.keys, cast(dtype, key, 1), [head, block, d, lane])
                    with T.serial(length) as t:

                        def put_value(d: Any, count: int, t: Any = t, start: Any = start, to: Any = memory) -> None:
                            value = source[row, t, span(start + width + d, count)]
                            T.buffer_store(to.values, cast(dtype, value, count), [head, t, span(d, count)])

                        chunks(heads.size, lanes, put_value)

    params = (
        Param("source", (batch, "s", layers * 2 * width)),
        Param("memory", (batch, layers, 2, capacity * width), dtype, "output"),
    )

    def cost(buffers: Buffers) -> Cost:
        return Cost(size(buffers["source"]) + elements(buffers["source"]) * vector.BYTES[dtype])

    return Kernel(f"store_memory_{batch}_{heads.count}x{heads.size}_{capacity}_{layers}_{dtype}", params, emit, cost)
