"""Compute attention of all rows to all rows, as in encoders and in decoders without a cache.

Scores are computed for whole vectors of keys, so keys are transposed into blocks first.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.attention import Heads
from harness.compiler.kernels.cost import elements, integer, reading_all
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.parallel import estimated, is_worth, rounds
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import exp, f32, get, load, put, quotient, registers, splat, store
from harness.compiler.targets.profiles import Profile

HIDDEN = float("-inf")
"""The score of a key that a query does not see, or that does not exist."""
QUERIES = 4
"""The number of queries that share a pass over the keys if their number is known only when the kernel runs."""
VECTORS = 2
"""The number of vectors of keys in a register tile, then."""


@dataclass(frozen=True)
class Side:
    """Describe where queries, keys or values lie: ``offset`` floats into rows of a tensor ``width`` floats wide."""

    tensor: str
    width: int
    offset: int


@dataclass(frozen=True)
class AllRows:
    """Describe softmax(scale * Q K^T + bias) V, for tensors [B, S, width].

    ``bias`` is the bias's shape, with an extent of 1 where it is the same for all, or None. A query whose bias hides
    every key by minus infinity has zeros as its result, as for torch.
    """

    heads: Heads
    scale: float
    batch: Dim
    queries: Dim
    keys: Dim
    sides: tuple[Side, Side, Side]
    bias: tuple[Dim, Dim, Dim, Dim] | None


@dataclass(frozen=True)
class _Tile:
    """Hold how many queries share a pass over the keys.

    Beside each are ``vectors`` of keys, or of a value's columns.
    """

    queries: int
    vectors: int
    lanes: int

    @property
    def block(self) -> int:
        return self.vectors * self.lanes


def _tile(profile: Profile, shape: AllRows) -> _Tile:
    """Choose a tile. Long sequences are bound by reading keys and values, so that many queries share them."""
    if not isinstance(shape.queries, int):
        return _Tile(QUERIES, VECTORS, profile.lanes)
    passes = -(-shape.queries // profile.rows)
    return _Tile(-(-shape.queries // passes), profile.columns // profile.lanes, profile.lanes)


def attend_all(profile: Profile, shape: AllRows) -> Kernel:
    """Return the kernel: (the sides' tensors, each once; bias) to context [B, Sq, G]."""
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

    def flops(buffers: Buffers) -> Any:
        keys = integer(list(buffers[shape.sides[1].tensor].shape)[1])
        return 4 * elements(buffers["context"]) * keys

    return Kernel(
        name.replace(".", "p").replace("-", "m"),
        tuple(params),
        lambda buffers: _attend_all(profile, shape, buffers),
        reading_all(flops),
    )


def _attend_all(profile: Profile, shape: AllRows, buffers: Buffers) -> None:
    tile, size = _tile(profile, shape), shape.heads.size
    lanes, block = tile.lanes, tile.block
    context = buffers["context"]
    batch, queries, _ = list(context.shape)
    keys_total = list(buffers[shape.sides[1].tensor].shape)[1]
    n = T.bind(T.Cast("int32", queries))
    m = T.bind(T.Cast("int32", keys_total))
    blocks = quotient(keys_total + (block - 1), block)
    q, k, v = ((buffers[side.tensor], side.offset) for side in shape.sides)
    heads = shape.heads.count
    cycles = estimated(batch, heads, queries, keys_total, size) / lanes
    with rounds(batch * heads, worth=is_worth(cycles), apart=True) as number:
        row = T.bind(quotient(number, heads))
        head = T.bind(number - row * heads)
        transposed = scratch((blocks, size, block))
        weights = scratch((tile.queries, blocks * block))
        inverses = scratch((tile.queries,))
        _transpose(k, row, head, m, transposed, blocks, size, block, lanes)
        with T.serial(quotient(n + (tile.queries - 1), tile.queries)) as group:
            asked = [T.bind(T.min(group * tile.queries + u, n - 1)) for u in range(tile.queries)]
            if shape.bias is not None:
                with T.serial(tile.queries) as u:
                    at = T.bind(T.min(group * tile.queries + u, n - 1))
                    _add_bias(buffers["bias"], row, head, at, u, m, weights)
            _weigh(shape, tile, q, row, head, asked, m, blocks, transposed, weights)
            with T.serial(tile.queries) as u:
                T.buffer_store(inverses, _softmax(weights, u, blocks * tile.vectors, m, lanes), [u])
            _mix(v, row, head, asked, inverses, m, weights, context, size, tile)


def _transpose(k: Any, row: Any, head: Any, m: Any, keys: Any, blocks: Any, size: int, block: int, lanes: int) -> None:
    """Transpose keys into [blocks, K, block]. The last key is repeated at the end, where scores are not used."""
    source, offset = k

    def key(b: Any, at: Any, d: Any, count: int) -> Any:
        t = T.min(T.Cast("int32", b) * block + at, m - 1)
        return load(source, row, t, offset + head * size + d, lanes=count)

    with T.serial(blocks) as b:

        def body(d: Any) -> None:
            for first in range(0, block, lanes):
                rows = [T.bind(key(b, first + at, d, lanes)) for at in range(lanes)]
                for at, column in enumerate(vector.transposed(rows)):
                    store(keys, column, b, d + at, first, lanes=lanes)

        if size < lanes:
            with T.serial(block) as at, T.serial(size) as d:
                T.buffer_store(keys, key(b, T.Cast("int32", at), d, 1), [b, d, at])
            return
        with T.serial(size // lanes) as chunk:
            body(chunk * lanes)
        if size % lanes:
            body(size - lanes)


def _add_bias(bias: Any, row: Any, head: Any, at: Any, u: Any, m: Any, weights: Any) -> None:
    """Copy the bias of a query to where its scores will be."""
    extents = [getattr(extent, "value", extent) for extent in bias.shape]
    where = [0 if extent == 1 else index for extent, index in zip(extents[:3], (row, head, at), strict=True)]
    with T.serial(m) as t:
        T.buffer_store(weights, bias[(*where, 0 if extents[3] == 1 else t)], [u, t])


def _weigh(
    shape: AllRows,
    tile: _Tile,
    q: Any,
    row: Any,
    head: Any,
    asked: list[Any],
    m: Any,
    blocks: Any,
    transposed: Any,
    weights: Any,
) -> None:
    """Emit the scores of a group of queries, with their bias, for every block of keys."""
    size, lanes = shape.heads.size, tile.lanes
    query, offset = q
    with T.serial(blocks) as b:
        sums = [registers(tile.vectors, lanes) for _ in asked]
        for register in itertools.chain.from_iterable(sums):
            put(register, f32(0.0, lanes), lanes)
        with T.serial(size) as d:
            columns = [T.bind(load(transposed, b, d, v * lanes, lanes=lanes)) for v in range(tile.vectors)]
            for u, at in enumerate(asked):
                x = T.bind(splat(query[row, at, offset + head * size + d], lanes))
                for register, column in zip(sums[u], columns, strict=True):
                    put(register, get(register, lanes) + x * column, lanes)
        for u in range(len(asked)):
            for v, register in enumerate(sums[u]):
                start = T.Cast("int32", b) * tile.block + v * lanes
                score = get(register, lanes) * f32(shape.scale, lanes)
                if shape.bias is not None:
                    score = score + load(weights, u, start, lanes=lanes)
                inside = T.ramp(start, 1, lanes) < splat(m, lanes)
                store(weights, T.Select(inside, score, f32(HIDDEN, lanes)), u, start, lanes=lanes)


def _softmax(weights: Any, u: Any, vectors: Any, m: Any, lanes: int) -> Any:
    """Turn scores into numerators; return the inverse of their sum."""
    highest, total = registers(2, lanes)
    put(highest, f32(HIDDEN, lanes), lanes)
    put(total, f32(0.0, lanes), lanes)
    with T.serial(vectors) as v:
        put(highest, T.max(get(highest, lanes), load(weights, u, v * lanes, lanes=lanes)), lanes)
    top = T.bind(vector.reduce_max(highest, lanes))
    # Without a visible key, every score is minus infinity, and so would their differences be NaN.
    least = T.bind(T.Select(top == T.float32(HIDDEN), T.float32(0.0), top))
    with T.serial(vectors) as v:
        numerator = T.bind(exp(load(weights, u, v * lanes, lanes=lanes) - splat(least, lanes), lanes))
        store(weights, numerator, u, v * lanes, lanes=lanes)
        inside = T.ramp(T.Cast("int32", v) * lanes, 1, lanes) < splat(m, lanes)
        put(total, get(total, lanes) + T.Select(inside, numerator, f32(0.0, lanes)), lanes)
    inverse = T.bind(T.float32(1.0) / vector.reduce_sum(total, lanes))
    # Without a visible key, the numerators are finite numbers without a meaning. NaN is not hidden.
    return T.bind(T.Select(top == T.float32(HIDDEN), T.float32(0.0), inverse))


def _mix(
    v: Any,
    row: Any,
    head: Any,
    asked: list[Any],
    inverses: Any,
    m: Any,
    weights: Any,
    context: Any,
    size: int,
    tile: _Tile,
) -> None:
    """Emit the weighted sum of values, for a group of queries at a time, as many columns as registers allow."""
    values, offset = v
    starts, lanes = vector.covering(size, tile.lanes)
    for first in range(0, len(starts), tile.vectors):
        taken = starts[first : first + tile.vectors]
        sums = [registers(len(taken), lanes) for _ in asked]
        for register in itertools.chain.from_iterable(sums):
            put(register, f32(0.0, lanes), lanes)
        with T.serial(m) as t:
            columns = [T.bind(load(values, row, t, offset + head * size + start, lanes=lanes)) for start in taken]
            for u, line in enumerate(sums):
                weight = T.bind(splat(weights[u, t], lanes))
                for register, column in zip(line, columns, strict=True):
                    put(register, get(register, lanes) + weight * column, lanes)
        for u, (at, line) in enumerate(zip(asked, sums, strict=True)):
            for start, register in zip(taken, line, strict=True):
                value = get(register, lanes) * splat(inverses[u], lanes)
                store(context, value, row, at, head * size + start, lanes=lanes)
