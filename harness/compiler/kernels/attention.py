"""Attention: of all rows to all rows (encoders), and of one new row to a cache (a decoder's step).

Scores are computed for whole vectors of keys, so keys lie transposed in blocks of ``lanes`` positions: a cache of
capacity C holds the keys of a head as [C / lanes, K, lanes] and the values as [C, K]. Widths: H heads of K,
G = H * K.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.vector import (
    F32,
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
from harness.compiler.profiles import Profile

LOWEST = -3.0e38
"""The score of a key that is not there."""
PARTIAL_SUMS = 4
"""Independent sums of a dot product over K, which hide the latency of the multiply-adds."""


@dataclass(frozen=True)
class Heads:
    """``count`` heads of ``size``; lengths in floats."""

    count: int
    size: int

    @property
    def width(self) -> int:
        return self.count * self.size


# ---- one new row ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cache:
    """The keys and values of one layer and row within a cache tensor [B, L, 2, capacity * G]."""

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
    """One head of one row attends to positions 0 .. ``last``; ``bias(chunk)`` is added to a vector of scores."""
    size = heads.size
    blocks = T.bind(quotient(last + lanes, lanes))
    scores = T.alloc_buffer((capacity,), F32)
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
    return Kernel(name, params, emit)


def attend_memory(
    profile: Profile, heads: Heads, rows: Dim, batch: int, capacity: int, layers: int, layer: int, dtype: str
) -> Kernel:
    """Attend to what :func:`store_memory` stored, up to each row's own length.

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
    return Kernel(name, params, emit)


def store_memory(profile: Profile, heads: Heads, batch: int, capacity: int, layers: int, dtype: str) -> Kernel:
    """Keys and values of the encoder's rows [B, S, L * 2 * G] into memory [B, L, 2, C * G], S <= C.

    The rest of the last block of keys is zeros: what memory happens to hold may be denormal, and slow.
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
    return Kernel(f"store_memory_{batch}_{heads.count}x{heads.size}_{capacity}_{layers}_{dtype}", params, emit)


# ---- all rows ---------------------------------------------------------------------------------------------

QUERIES = 4
"""Queries that share a pass over the keys."""


@dataclass(frozen=True)
class Side:
    """Where queries, keys or values lie: ``offset`` floats into rows of a tensor ``width`` floats wide."""

    tensor: str
    width: int
    offset: int


@dataclass(frozen=True)
class AllRows:
    """softmax(scale * Q K^T + bias) V, for tensors [B, S, width]. ``bias`` is the bias's shape, an extent 1
    where it is the same for all (None: no bias)."""

    heads: Heads
    scale: float
    batch: Dim
    queries: Dim
    keys: Dim
    sides: tuple[Side, Side, Side]
    bias: tuple[Dim, Dim, Dim, Dim] | None
    vectors: int = 2
    """Vectors of keys in a register tile."""


def attend_all(profile: Profile, shape: AllRows) -> Kernel:
    """(the sides' tensors, each once; bias) to context [B, Sq, G]."""
    widths = {side.tensor: side.width for side in shape.sides}
    lengths = {shape.sides[0].tensor: shape.queries}
    lengths |= {side.tensor: shape.keys for side in shape.sides[1:]}
    params = [Param(name, (shape.batch, lengths[name], width)) for name, width in widths.items()]
    if shape.bias is not None:
        params.append(Param("bias", shape.bias))
    params.append(Param("context", (shape.batch, shape.queries, shape.heads.width), role="output"))
    sides = "_".join(f"{side.tensor}{side.width}.{side.offset}" for side in shape.sides)
    bias = "none" if shape.bias is None else shape_name(shape.bias)
    sizes = shape_name((shape.batch, shape.queries, shape.keys))
    name = f"attend_all_{sizes}_{shape.heads.count}x{shape.heads.size}_{sides}_{bias}_{shape.scale:g}"
    return Kernel(
        name.replace(".", "p").replace("-", "m"), tuple(params), lambda buffers: _attend_all(profile, shape, buffers)
    )


def _attend_all(profile: Profile, shape: AllRows, buffers: Buffers) -> None:
    lanes, size = profile.lanes, shape.heads.size
    block = shape.vectors * lanes
    context = buffers["context"]
    batch, queries, _ = list(context.shape)
    keys_total = list(buffers[shape.sides[1].tensor].shape)[1]
    n = T.bind(T.Cast("int32", queries))
    m = T.bind(T.Cast("int32", keys_total))
    blocks = quotient(keys_total + (block - 1), block)
    transposed = T.alloc_buffer((blocks, size, block), F32)
    weights = T.alloc_buffer((QUERIES, blocks * block), F32)
    q, k, v = ((buffers[side.tensor], side.offset) for side in shape.sides)
    with T.serial(batch) as row, T.serial(shape.heads.count) as head:
        _transpose(k, row, head, m, transposed, blocks, size, block)
        with T.serial(quotient(n + (QUERIES - 1), QUERIES)) as group:
            asked = [T.bind(T.min(group * QUERIES + u, n - 1)) for u in range(QUERIES)]
            _weigh(shape, buffers, q, row, head, asked, m, blocks, transposed, weights, lanes)
            tops = [_softmax(weights, u, blocks * shape.vectors, m, lanes) for u in range(QUERIES)]
            _mix(v, row, head, asked, tops, m, weights, context, size, lanes)


def _transpose(k: Any, row: Any, head: Any, m: Any, transposed: Any, blocks: Any, size: int, block: int) -> None:
    keys, offset = k
    with T.serial(blocks) as b, T.serial(block) as lane:
        t = T.bind(T.Cast("int32", b) * block + T.Cast("int32", lane))
        with T.serial(size) as d:
            # Lanes behind the last key are zeros: what memory happens to hold may be denormal, and slow.
            key = T.Select(t < m, keys[row, T.min(t, m - 1), offset + head * size + d], T.float32(0))
            T.buffer_store(transposed, key, [b, d, lane])


def _weigh(
    shape: AllRows,
    buffers: Buffers,
    q: Any,
    row: Any,
    head: Any,
    asked: list[Any],
    m: Any,
    blocks: Any,
    transposed: Any,
    weights: Any,
    lanes: int,
) -> None:
    """Scores of a group of queries, with their bias, for every block of keys."""
    size, vectors = shape.heads.size, shape.vectors
    query, offset = q
    if shape.bias is not None:
        bias = buffers["bias"]
        extents = [getattr(extent, "value", extent) for extent in bias.shape]
        for u, at in enumerate(asked):
            where = [0 if extent == 1 else index for extent, index in zip(extents[:3], (row, head, at), strict=True)]
            with T.serial(m) as t:
                T.buffer_store(weights, bias[(*where, 0 if extents[3] == 1 else t)], [u, t])
    with T.serial(blocks) as b:
        sums = [registers(vectors, lanes) for _ in asked]
        for register in itertools.chain.from_iterable(sums):
            put(register, f32(0.0, lanes), lanes)
        with T.serial(size) as d:
            columns = [T.bind(load(transposed, b, d, v * lanes, lanes=lanes)) for v in range(vectors)]
            for u, at in enumerate(asked):
                x = T.bind(splat(query[row, at, offset + head * size + d], lanes))
                for register, column in zip(sums[u], columns, strict=True):
                    put(register, get(register, lanes) + x * column, lanes)
        for u in range(len(asked)):
            for v, register in enumerate(sums[u]):
                start = T.Cast("int32", b) * (vectors * lanes) + v * lanes
                score = get(register, lanes) * f32(shape.scale, lanes)
                if shape.bias is not None:
                    score = score + load(weights, u, start, lanes=lanes)
                inside = T.ramp(start, 1, lanes) < splat(m, lanes)
                store(weights, T.Select(inside, score, f32(LOWEST, lanes)), u, start, lanes=lanes)


def _softmax(weights: Any, u: int, vectors: Any, m: Any, lanes: int) -> Any:
    """Scores to numerators; their sum's inverse."""
    highest, total = registers(2, lanes)
    put(highest, f32(LOWEST, lanes), lanes)
    put(total, f32(0.0, lanes), lanes)
    with T.serial(vectors) as v:
        put(highest, T.max(get(highest, lanes), load(weights, u, v * lanes, lanes=lanes)), lanes)
    top = T.bind(vector.reduce_max(highest, lanes))
    with T.serial(vectors) as v:
        numerator = T.bind(exp(load(weights, u, v * lanes, lanes=lanes) - splat(top, lanes), lanes))
        store(weights, numerator, u, v * lanes, lanes=lanes)
        inside = T.ramp(T.Cast("int32", v) * lanes, 1, lanes) < splat(m, lanes)
        put(total, get(total, lanes) + T.Select(inside, numerator, f32(0.0, lanes)), lanes)
    return T.bind(T.float32(1.0) / vector.reduce_sum(total, lanes))


def _mix(
    v: Any,
    row: Any,
    head: Any,
    asked: list[Any],
    tops: list[Any],
    m: Any,
    weights: Any,
    context: Any,
    size: int,
    lanes: int,
) -> None:
    """The weighted sum of values, for a group of queries at a time, as many columns as registers allow."""
    values, offset = v

    def body(start: Any, count: int) -> None:
        sums = [registers(1, count)[0] for _ in asked]
        for register in sums:
            put(register, f32(0.0, count), count)
        with T.serial(m) as t:
            value = T.bind(load(values, row, t, offset + head * size + start, lanes=count))
            for u, register in enumerate(sums):
                put(register, get(register, count) + splat(weights[u, t], count) * value, count)
        for u, (at, register) in enumerate(zip(asked, sums, strict=True)):
            store(context, get(register, count) * splat(tops[u], count), row, at, head * size + start, lanes=count)

    chunks(size, lanes, body)
