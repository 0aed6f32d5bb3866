"""Compute causal attention of new rows to a cache, for heads that share keys, as in language models.

Queries and keys may have a norm in each head and rotary positions, which are applied on the way. The cache of a layer
lies as in :mod:`harness.compiler.kernels.attention`: keys transposed in blocks of ``lanes`` positions, values row by
row. It has one place for each group of queries' heads, and is never copied for them: a key's vector is loaded once for
several heads. The layer is an argument, so that all layers share one function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.attention import LOWEST
from harness.compiler.kernels.cost import Cost, elements, integer, rows, size
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.parallel import estimated, is_worth, rounds
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

GUESSED_POSITIONS = 256
"""The positions that a row is taken to see, where it is decided whether threads share the heads."""


@dataclass(frozen=True)
class Causal:
    """Describe attention: ``heads`` of queries, ``kv_heads`` of keys and values, of ``size`` elements each.

    ``rotary`` are the columns of the rotation's table: the head's size, or 0 without rotary positions. A ``window`` of
    0 sees every position.
    """

    heads: int
    kv_heads: int
    size: int
    capacity: int
    layers: int
    rotary: int
    window: int = 0
    head_norms: bool = False
    eps: float = 0.0
    dtype: str = "float32"
    cap: float = 0.0
    """A score x becomes cap * tanh(x / cap); 0 means that it is left."""

    @property
    def shared(self) -> int:
        """Return how many heads of queries share keys."""
        return self.heads // self.kv_heads

    @property
    def label(self) -> str:
        parts = [f"{self.heads}x{self.kv_heads}x{self.size}", str(self.capacity), str(self.layers), self.dtype]
        parts += [f"rotary{self.rotary}" if self.rotary else "", f"window{self.window}" if self.window else ""]
        parts += [f"norms_{self.eps:g}".replace("-", "m").replace(".", "p") if self.head_norms else ""]
        parts += [f"cap_{self.cap:g}".replace(".", "p") if self.cap else ""]
        return "_".join(filter(None, parts))


def attend_causally(profile: Profile, shape: Causal, count: Dim) -> Kernel:
    """Return the kernel: it writes the rows' keys and values into the cache, and lets each attend to all up to its own.

    (qkv [T, (H + 2 K) D], rotation [C, rotary] if any, norms [2, D] if any, layer int32[1], position int32[1], cache
    [L, 2, C * K * D], written) to context [T, H * D]. All rows have to lie within the capacity.
    """
    width = shape.heads + 2 * shape.kv_heads
    params = [Param("qkv", (count, width * shape.size))]
    if shape.rotary:
        params.append(Param("rotation", (shape.capacity, shape.rotary), role="weight"))
    if shape.head_norms:
        params.append(Param("norms", (2, shape.size), role="weight"))
    params += [
        Param("layer", (1,), "int32", "weight"),
        Param("position", (1,), "int32"),
        Param("cache", (shape.layers, 2, shape.capacity * shape.kv_heads * shape.size), shape.dtype, "inout"),
        Param("context", (count, shape.heads * shape.size), role="output"),
    ]

    def cost(buffers: Buffers) -> Cost:
        asked, first = rows(buffers["qkv"]), integer(buffers["position"][0])
        seen = first + asked
        bytes_of_position = 2 * shape.kv_heads * shape.size * vector.BYTES[shape.dtype]
        moved = sum(size(buffers[name]) for name in ("qkv", "context", "position"))
        return Cost(moved + seen * bytes_of_position, 4 * elements(buffers["context"]) * seen)

    return Kernel(
        f"attend_causally_{count}_{shape.label}",
        tuple(params),
        lambda buffers: _Emitter(profile.lanes, shape, buffers).emit(),
        cost,
        alone=True,
    )


class _Emitter:
    def __init__(self, lanes: int, shape: Causal, buffers: Buffers) -> None:
        self.lanes, self.shape, self.buffers = lanes, shape, buffers

    def emit(self) -> None:
        shape, buffers = self.shape, self.buffers
        rows_total = next(iter(buffers["qkv"].shape))
        self.first = T.bind(buffers["position"][0])
        part = shape.capacity * shape.kv_heads * shape.size
        start = T.bind(T.Cast("int32", buffers["layer"][0]) * (2 * part))
        blocks = (shape.kv_heads, shape.capacity // self.lanes, shape.size, self.lanes)
        self.keys = vector.view(buffers["cache"], blocks, start)
        self.values = vector.view(buffers["cache"], (shape.kv_heads, shape.capacity, shape.size), start + part)
        cycles = estimated(rows_total, shape.heads, shape.size, 2 * GUESSED_POSITIONS) / self.lanes
        with rounds(shape.kv_heads, worth=is_worth(cycles), apart=True) as group:
            group = T.bind(T.Cast("int32", group))
            prepared = scratch((shape.shared, shape.size))
            scores = scratch((shape.shared, shape.capacity))
            with T.serial(T.Cast("int32", rows_total)) as row:
                at = T.bind(self.first + row)
                self._append(row, at, group, prepared)
                for query in range(shape.shared):
                    self._prepare(row, at, group * shape.shared + query, 0, prepared, query)
                for heads in _groups(shape.shared, max(1, 12 * self.lanes // shape.size)):
                    self._attend(row, at, group, list(heads), prepared, scores)

    def _append(self, row: Any, at: Any, group: Any, prepared: Any) -> None:
        """Write the row's key and value into the cache."""
        shape, lanes = self.shape, self.lanes
        self._prepare(row, at, group + shape.heads, 1, prepared, 0)
        block = T.bind(quotient(at, lanes))
        with T.serial(shape.size) as d:
            T.buffer_store(self.keys, cast(shape.dtype, prepared[0, d], 1), [group, block, d, at - block * lanes])
        start = (group + (shape.heads + shape.kv_heads)) * shape.size

        def put_value(d: Any, count: int) -> None:
            value = self.buffers["qkv"][row, span(start + d, count)]
            T.buffer_store(self.values, cast(shape.dtype, value, count), [group, at, span(d, count)])

        chunks(shape.size, lanes, put_value)

    def _prepare(self, row: Any, at: Any, head: Any, which: int, to: Any, place: int) -> None:
        """Write a head of a row into ``to[place]``, normed and rotated. ``which`` is 0 for queries and 1 for keys.

        Queries are scaled here, so that scores need no scaling.
        """
        shape, lanes, qkv = self.shape, self.lanes, self.buffers["qkv"]
        start = T.bind(head * shape.size)
        scale = shape.size**-0.5 if which == 0 else 1.0
        inverse = None
        if shape.head_norms:

            def square(total: Any, d: Any, count: int) -> Any:
                x = T.bind(load(qkv, row, start + d, lanes=count))
                return total + x * x

            wide, single = vector.fold_row(shape.size, lanes, T.float32(0.0), square, vector.reduce_sum)
            mean = (wide + single) * T.float32(1.0 / shape.size)
            inverse = T.bind(T.float32(1.0) / T.sqrt(mean + T.float32(shape.eps)))

        def read(d: Any, count: int) -> Any:
            x = load(qkv, row, start + d, lanes=count)
            if inverse is not None:
                x = x * splat(inverse, count) * load(self.buffers["norms"], which, d, lanes=count)
            return x * f32(scale, count) if scale != 1.0 else x

        if not shape.rotary:
            chunks(shape.size, lanes, lambda d, count: store(to, read(d, count), place, d, lanes=count))
            return
        half = shape.size // 2

        def rotate(d: Any, count: int) -> None:
            table = self.buffers["rotation"]
            cosine = T.bind(load(table, at, d, lanes=count))
            sine = T.bind(load(table, at, half + d, lanes=count))
            one, other = T.bind(read(d, count)), T.bind(read(half + d, count))
            store(to, one * cosine - other * sine, place, d, lanes=count)
            store(to, other * cosine + one * sine, place, half + d, lanes=count)

        chunks(half, min(lanes, half) if half & (half - 1) == 0 else lanes, rotate)

    def _attend(self, row: Any, at: Any, group: Any, heads: list[int], query: Any, scores: Any) -> None:
        """Emit some heads of one row, which share keys and values."""
        shape, lanes = self.shape, self.lanes
        oldest = T.bind(T.max(at - (shape.window - 1), 0)) if shape.window else None
        begin = 0 if oldest is None else T.bind(quotient(oldest, lanes))
        end = T.bind(quotient(at + lanes, lanes))
        tops = registers(len(heads), lanes)
        for top in tops:
            put(top, f32(LOWEST, lanes), lanes)
        with T.serial(begin, end) as block:
            self._score(block, at, oldest, group, heads, query, scores, tops)
        inverses = [self._weigh(begin, end, head, top, scores) for head, top in zip(heads, tops, strict=True)]
        whole, rest = shape.size // lanes, shape.size % lanes
        sums = [registers(whole, lanes) for _ in heads]
        singles = [registers(rest, 1) for _ in heads]
        for line, count in ((sums, lanes), (singles, 1)):
            for register in (one for registers_ in line for one in registers_):
                put(register, f32(0.0, count), count)
        with T.serial(0 if oldest is None else oldest, at + 1) as t:
            weights = [T.bind(scores[head, t]) for head in heads]
            for v in range(whole):
                value = T.bind(load(self.values, group, t, v * lanes, lanes=lanes))
                for line, weight in zip(sums, weights, strict=True):
                    put(line[v], get(line[v], lanes) + splat(weight, lanes) * value, lanes)
            for v in range(rest):
                value = T.bind(load(self.values, group, t, whole * lanes + v, lanes=1))
                for line, weight in zip(singles, weights, strict=True):
                    put(line[v], line[v][0] + weight * value, 1)
        for head, inverse, line, ends in zip(heads, inverses, sums, singles, strict=True):
            start = T.bind((group * shape.shared + head) * shape.size)
            context = self.buffers["context"]
            for v, register in enumerate(line):
                store(context, get(register, lanes) * splat(inverse, lanes), row, start + v * lanes, lanes=lanes)
            for v, register in enumerate(ends):
                store(context, register[0] * inverse, row, start + whole * lanes + v, lanes=1)

    def _score(
        self, block: Any, at: Any, oldest: Any, group: Any, heads: list[int], query: Any, scores: Any, tops: list[Any]
    ) -> None:
        """Emit the scores of a block of positions; those that a row does not see are the lowest."""
        shape, lanes = self.shape, self.lanes
        # Several sums a head hide the latency of the multiply-adds.
        partial = max(1, 4 // len(heads))
        sums = [registers(partial, lanes) for _ in heads]
        for register in (one for line in sums for one in line):
            put(register, f32(0.0, lanes), lanes)

        def multiply(d: Any, part: int) -> None:
            key = T.bind(load(self.keys, group, block, d, 0, lanes=lanes))
            for line, head in zip(sums, heads, strict=True):
                put(line[part], get(line[part], lanes) + splat(query[head, d], lanes) * key, lanes)

        with T.serial(shape.size // partial) as step:
            for part in range(partial):
                multiply(step * partial + part, part)
        for d in range(shape.size - shape.size % partial, shape.size):
            multiply(d, 0)
        position = T.bind(T.ramp(block * lanes, 1, lanes))
        for line, head, top in zip(sums, heads, tops, strict=True):
            score = get(line[0], lanes)
            for register in line[1:]:
                score = score + get(register, lanes)
            if shape.cap:
                score = _capped(score, shape.cap, lanes)
            score = T.Select(position <= splat(at, lanes), score, f32(LOWEST, lanes))
            if oldest is not None:
                score = T.Select(position >= splat(oldest, lanes), score, f32(LOWEST, lanes))
            score = T.bind(score)
            store(scores, score, head, block * lanes, lanes=lanes)
            put(top, T.max(get(top, lanes), score), lanes)

    def _weigh(self, begin: Any, end: Any, head: int, top: Any, scores: Any) -> Any:
        """Turn a head's scores into numerators; return the inverse of their sum."""
        lanes = self.lanes
        highest = T.bind(vector.reduce_max(top, lanes))
        (total,) = registers(1, lanes)
        put(total, f32(0.0, lanes), lanes)
        with T.serial(begin, end) as block:
            weight = T.bind(exp(load(scores, head, block * lanes, lanes=lanes) - splat(highest, lanes), lanes))
            store(scores, weight, head, block * lanes, lanes=lanes)
            put(total, get(total, lanes) + weight, lanes)
        return T.bind(T.float32(1.0) / vector.reduce_sum(total, lanes))


def _capped(score: Any, cap: float, lanes: int) -> Any:
    """Return cap * tanh(score / cap) by the exponential function, to about cap * 1e-7.

    The polynomial of :mod:`harness.compiler.kernels.arithmetic` is a Let, whose variable TVM finds bound twice here.
    """
    grown = exp(T.bind(score * f32(2.0 / cap, lanes)), lanes)
    return T.bind(f32(cap, lanes) - f32(2.0 * cap, lanes) / (grown + f32(1.0, lanes)))


def _groups(count: int, most: int) -> Iterator[range]:
    """Cut the heads into nearly equal groups of at most ``most``."""
    groups = -(-count // most)
    for group in range(groups):
        yield range(group * count // groups, (group + 1) * count // groups)
