"""Define layouts of weights in memory, and the products with them.

A weight [K, N] is cut into panels of ``columns`` columns. One step of the inner loop reads contiguous memory, and the
whole panel is read once from start to end. Rows beyond K and columns beyond N are zeros. The int8 formats hold one
scale per output column and quantise the activations per row when they run.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import F32, cast, chunks, f32, get, load, put, quotient, registers, span, splat
from harness.compiler.targets.profiles import IntegerDot, Profile

Array = npt.NDArray[Any]
Tile = list[list[Any]]
"""Float32 vectors by row and by vector within the panel."""

INT32_MAX = 2**31 - 1
SECOND_CACHE = 2
"""The cache into which LLVM's prefetch fetches: 3 is the first, 0 none."""
LIMB = 254.0
"""The second limb of an activation counts in 1/254 of the first's unit: its range is -127 .. 127, too."""


@dataclass(frozen=True)
class Activations:
    """Hold rows ready to be multiplied: ``data`` [limbs, rows, words], ``scales`` [rows] for the int8 formats."""

    data: Any
    scales: Any = None
    starts: Any = None
    """What int32 sums of int4 weights begin with, by group. Then ``scales`` are by group, too."""


class Format(ABC):
    """Define one way to lay out weights.

    ``row_unit`` rows are always multiplied together, and at most ``rows`` in a tile.
    """

    row_unit = 1

    products = 1
    """Products of the instruction set for each weight and row."""

    prefetches = False
    """True if the next panel is fetched ahead: for many rows of floats. One row reads at the memory's speed anyway, and
    int8's loops are limited by instructions, not by bytes."""

    opens = False
    """True if :meth:`opened` writes a panel into memory of its own."""

    def __init__(self, name: str, profile: Profile, columns: int) -> None:
        self.name, self.lanes, self.columns = name, profile.lanes, columns
        self.vectors = columns // profile.lanes
        self.rows = profile.rows

    def panels(self, width: int) -> int:
        return -(-width // self.columns)

    @abstractmethod
    def params(self, depth: int, width: int) -> list[Param]:
        """Return the weight's parameters, in the order of :meth:`pack`."""

    @abstractmethod
    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        """Return a weight [K, N] as the arrays of :meth:`params`."""

    @property
    @abstractmethod
    def quantises(self) -> bool: ...

    @abstractmethod
    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        """Emit the conversion of float32 rows ``x`` [rows, K] to activations."""

    def opened(self, weights: Buffers, panel: Any, depth: int) -> tuple[Buffers, Any]:
        """Emit what makes a panel ready for many tiles; return the buffers that they read, and its number in them."""
        return weights, panel

    @abstractmethod
    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        """Emit the product of ``rows`` rows from ``first`` on with one panel."""

    def prefetch(self, weight: Any, panel: Any, k: Any) -> None:
        """Fetch the same step of the next panel into the second cache while this one is multiplied.

        After the last panel something else is fetched, which is not used.
        """
        if self.prefetches:
            address = T.address_of(weight[panel + 1, k, 0])
            T.evaluate(T.call_intrin("void", "tirx.prefetch", address, 0, SECOND_CACHE, 1))

    def _columns(self, weight: Any, panel: Any, k: Any, rows: int) -> list[Any]:
        """Return one step's weights: bound once for several rows; for one row, read where they are multiplied."""
        columns = [self._column(weight, panel, k, v) for v in range(self.vectors)]
        return columns if rows == 1 else [T.bind(column) for column in columns]

    @abstractmethod
    def _column(self, weight: Any, panel: Any, k: Any, v: int) -> Any:
        """Return the ``v``-th vector of a step's weights."""

    def _padded(self, weight: Array, unit: int) -> Array:
        depth, width = weight.shape
        padded = np.zeros((-(-depth // unit) * unit, self.panels(width) * self.columns), weight.dtype)
        padded[:depth, :width] = weight
        return padded


class FloatFormat(Format):
    """Lay out float32 or float16 weights [panels, K, columns], multiplied in float32."""

    quantises = False

    def __init__(self, dtype: Literal["float32", "float16"], profile: Profile, columns: int) -> None:
        super().__init__({"float32": "fp32", "float16": "fp16"}[dtype], profile, columns)
        self.dtype = dtype
        self.steps = 1
        # Halves are widened once for all rows of a tile, so that more rows are worth more than lanes.
        if dtype == "float32" and profile.rows_by_lane:
            self.steps, self.rows = self.lanes, profile.rows_by_lane

    def params(self, depth: int, width: int) -> list[Param]:
        return [Param("weight", (self.panels(width), depth, self.columns), self.dtype, "weight")]

    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        padded = self._padded(weight.astype(self.dtype), 1)
        return [np.ascontiguousarray(padded.reshape(len(padded), -1, self.columns).transpose(1, 0, 2))]

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        return Activations(x)

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        sums = [registers(self.vectors, self.lanes) for _ in range(rows)]
        for register in itertools.chain.from_iterable(sums):
            put(register, f32(0.0, self.lanes), self.lanes)

        def multiply(k: Any, spread: Callable[[int], Any]) -> None:
            self.prefetch(weights["weight"], panel, k)
            columns = self._columns(weights["weight"], panel, k, rows)
            for row in range(rows):
                x = T.bind(spread(row))
                for register, column in zip(sums[row], columns, strict=True):
                    put(register, get(register, self.lanes) + x * column, self.lanes)

        def alone(k: Any) -> Callable[[int], Any]:
            return lambda row: splat(activations.data[first + row, k], self.lanes)

        if self.steps == 1:
            with T.serial(depth) as k:
                multiply(k, alone(k))
        else:
            self._by_lane(activations.data, first, rows, depth, multiply)
            for k in range(depth // self.steps * self.steps, depth):
                multiply(k, alone(k))
        return [[get(register, self.lanes) for register in row] for row in sums]

    def _by_lane(self, x: Any, first: Any, rows: int, depth: int, multiply: Callable[..., None]) -> None:
        """Emit the steps that fill vectors of activations."""
        if depth < self.steps:
            return
        with T.serial(depth // self.steps) as block:
            read = [T.bind(load(x, first + row, block * self.steps, lanes=self.steps)) for row in range(rows)]
            for step in range(self.steps):
                multiply(block * self.steps + step, lanes_of(read, step, self.lanes))

    def _column(self, weight: Any, panel: Any, k: Any, v: int) -> Any:
        return load(weight, panel, k, v * self.lanes, lanes=self.lanes)


class IntegerFormat(Format):
    """Lay out int8 weights, multiplied with quantised activations and added up in int32.

    ``limbs`` 2 keeps the activations to 15 bits as a pair of bytes, at the price of a second dot product with the same
    weights. The price is zero if reading the weights decides the time.
    """

    quantises = True

    def __init__(self, kind: IntegerDot, profile: Profile, columns: int, limbs: int = 1) -> None:
        super().__init__(f"int8-{kind}" + (f"-{limbs}" if limbs > 1 else ""), profile, columns)
        self.kind, self.limbs, self.products = kind, limbs, limbs
        self.unit = {"pairs": 2, "vnni": 4, "sdot": 4, "widening": 1, "smmla": 8}[kind]
        self.row_unit = 2 if kind == "smmla" else 1
        self.activation = "int16" if kind in ("pairs", "widening") else "int8"
        self.offset = 128 if kind == "vnni" else 0
        self.steps = 1
        if kind == "sdot" and profile.rows_by_lane:
            self.steps, self.rows = self.lanes, profile.rows_by_lane
        self.rows //= limbs  # each has sums of its own in the registers

    def words(self, depth: int) -> int:
        return -(-depth // self.unit)

    def params(self, depth: int, width: int) -> list[Param]:
        panels, words = self.panels(width), self.words(depth)
        shape: tuple[int, ...] = (panels, words, self.columns * self.unit)
        found = [Param("weight", shape, "int8", "weight"), Param("scale", (panels, self.columns), F32, "weight")]
        if self.offset:
            found.append(Param("start", (panels, self.columns), "int32", "weight"))
        return found

    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        return self.packed(weight, 1)

    def packed(self, weight: npt.NDArray[np.float32], limbs: int) -> list[Array]:
        """Return the weight in so many bytes each, side by side for each step of K, with scales and starts."""
        scale = np.abs(weight).max(axis=0) / 127
        scale[scale == 0] = 1
        rest, found = weight / scale, []
        for _ in range(limbs):
            rounded = np.clip(np.rint(rest), -127, 127)
            found.append(self._padded(rounded.astype(np.int8), self.unit))
            rest = (rest - rounded) * LIMB
        depth = len(found[0])
        words = np.stack(found).reshape(limbs, depth // self.unit, self.unit, -1, self.columns).transpose(3, 1, 0, 4, 2)
        scales = self._padded(scale.astype(np.float32)[None], 1).reshape(-1, self.columns)
        packed = [np.ascontiguousarray(words).reshape(*words.shape[:2], -1), scales]
        if self.offset:
            starts = -self.offset * found[0].astype(np.int32).sum(axis=0)
            packed.append(starts.astype(np.int32).reshape(-1, self.columns))
        return packed

    def largest(self, depth: int) -> int:
        """Return the largest activation that the type can hold and with which no sum of K products overflows."""
        return 127 if self.activation == "int8" else min(32767, INT32_MAX // (127 * depth))

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        padded = self.words(depth) * self.unit
        units = quotient(rows + (self.row_unit - 1), self.row_unit)
        row_count = units * self.row_unit
        # Pairs of rows take turns, eight bytes each.
        shape = (units, self.words(depth), 2, 8) if self.row_unit == 2 else (self.limbs, rows, padded)
        data = scratch(shape, self.activation)
        scales = scratch((row_count,))
        with T.serial(rows) as row:
            self.quantise(x, row, depth, data, scales)
        if self.row_unit == 2:
            with vector.when(row_count > rows):
                T.buffer_store(scales, T.float32(0), [rows])
                with T.serial(self.words(depth)) as word, T.serial(8) as byte:
                    T.buffer_store(data, T.Cast("int8", T.int32(0)), [units - 1, word, 1, byte])
        return Activations(data, scales)

    def quantise(self, x: Any, row: Any, depth: int, data: Any, scales: Any) -> None:
        padded = self.words(depth) * self.unit
        # It is bounded below, so that a row of zeros (or of denormals) has a scale that can be divided by.
        highest = T.bind(T.max(row_maximum(x, row, depth, self.lanes), T.float32(1e-20)))
        largest = self.largest(depth)
        factor = T.bind(T.float32(largest) / highest)
        T.buffer_store(scales, highest * T.float32(1.0 / largest), [row])

        def body(k: Any, lanes: int) -> None:
            scaled = T.bind(x[row, span(k, lanes)] * splat(factor, lanes))
            whole = T.bind(T.nearbyint(scaled))
            self._put_word(data, 0, row, k, whole, lanes)
            if self.limbs == 2:
                rest = T.nearbyint((scaled - whole) * f32(LIMB, lanes))
                self._put_word(data, 1, row, k, rest, lanes)

        chunks(depth, self.unit if self.kind == "smmla" else 4 * self.lanes, body)
        if padded > depth:
            # Any value would do: the weights there are zeros.
            with T.serial(padded - depth) as rest:
                for limb in range(self.limbs):
                    T.buffer_store(data, T.Cast(self.activation, T.int32(0)), self.place(limb, row, depth + rest, 1))

    def _put_word(self, data: Any, limb: int, row: Any, k: Any, value: Any, lanes: int) -> None:
        whole = cast("int32", value, lanes)
        if self.offset:
            whole = whole + splat(T.int32(self.offset), lanes)
        T.buffer_store(data, cast(self.activation, whole, lanes), self.place(limb, row, k, lanes))

    def place(self, limb: int, row: Any, k: Any, lanes: int) -> list[Any]:
        """Return the indices of the activations from ``k`` on."""
        if self.kind != "smmla":
            return [limb, row, span(k, lanes)]
        pair, word = quotient(row, 2), quotient(k, 8)
        return [pair, word, row - pair * 2, span(k - word * 8, lanes)]

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        if self.kind == "smmla":
            return matrix_dot(self, activations, first, rows, weights, panel, self.words(depth))
        sums = [[registers(self.vectors, self.lanes, "int32") for _ in range(self.limbs)] for _ in range(rows)]
        for limbs in sums:
            for limb in limbs:
                for v, register in enumerate(limb):
                    put(register, self._start(weights, panel, v), self.lanes)
        word_type = {1: "int16", 2: "int32", 4: "int32"}[self.unit]
        shape = (self.limbs, *list(activations.data.shape)[1:2], self.words(depth))
        words = activations.data if self.unit == 1 else vector.flat(activations.data, shape, word_type)
        dot = INSTRUCTIONS[self.kind]

        def multiply(k: Any, word: Callable[[int, int], Any]) -> None:
            self.prefetch(weights["weight"], panel, k)
            columns = self._columns(weights["weight"], panel, k, rows)
            for row in range(rows):
                for limb in range(self.limbs):
                    x = word(row, limb)
                    for register, column in zip(sums[row][limb], columns, strict=True):
                        put(register, dot(get(register, self.lanes), x, column, self.lanes), self.lanes)

        self.by_lane(words, first, rows, self.words(depth), multiply)
        return [
            [
                self.scaled([limb[v] for limb in sums[r]], activations, first + r, weights, panel, v)
                for v in range(self.vectors)
            ]
            for r in range(rows)
        ]

    def by_lane(self, words: Any, first: Any, rows: int, count: int, multiply: Callable[..., None]) -> None:
        """Emit ``multiply(k, word)`` for all words k; ``word(row, limb)`` is that of the activations."""

        def alone(k: Any) -> Callable[[int, int], Any]:
            return lambda row, limb: words[limb, first + row, k]

        if self.steps == 1:
            with T.serial(count) as k:
                multiply(k, alone(k))
            return
        whole = count // self.steps
        if whole:
            with T.serial(whole) as block:
                places = [(row, limb) for row in range(rows) for limb in range(self.limbs)]
                read = [T.bind(words[limb, first + row, span(block * self.steps, self.steps)]) for row, limb in places]
                for step in range(self.steps):
                    spread = lanes_of(read, step, self.lanes)
                    k = block * self.steps + step
                    multiply(k, lambda row, limb, spread=spread: spread(row * self.limbs + limb))
        for k in range(whole * self.steps, count):
            multiply(k, alone(k))

    def _start(self, weights: Buffers, panel: Any, v: int) -> Any:
        if self.offset:
            return load(weights["start"], panel, v * self.lanes, lanes=self.lanes, dtype="int32")
        return splat(T.int32(0), self.lanes)

    def _column(self, weight: Any, panel: Any, k: Any, v: int) -> Any:
        count = self.lanes * self.unit
        return weight[panel, k, span(v * count, count)]

    def scaled(self, limbs: list[Any], activations: Activations, row: Any, weights: Buffers, panel: Any, v: int) -> Any:
        """Convert int32 sums (registers, or vectors already read) to float32."""
        total = cast(F32, get(limbs[0], self.lanes), self.lanes)
        if len(limbs) == 2:
            total = total + cast(F32, get(limbs[1], self.lanes), self.lanes) * f32(1 / LIMB, self.lanes)
        scale = load(weights["scale"], panel, v * self.lanes, lanes=self.lanes)
        return total * (splat(activations.scales[row], self.lanes) * scale)


def lanes_of(vectors: list[Any], at: int, lanes: int) -> Callable[[int], Any]:
    """Return a function of a vector's number that returns its lane ``at``, in all lanes."""
    return lambda number: vector.lane(vectors[number], at, lanes)


def matrix_dot(
    form: IntegerFormat, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, words: int
) -> Tile:
    """Emit a tile with ``smmla``: ``first`` is even, rows come in pairs and columns in pairs."""
    row_pairs, column_pairs, lanes = rows // 2, form.columns // 2, form.lanes
    sums = [registers(column_pairs, lanes, "int32") for _ in range(row_pairs)]
    for register in itertools.chain.from_iterable(sums):
        put(register, splat(T.int32(0), lanes), lanes)
    dot = INSTRUCTIONS["smmla"]
    pairs_of_rows = vector.flat(activations.data, (*list(activations.data.shape)[:2], 16))
    with T.serial(words) as k:
        # Rows come first, and each pair of columns when it is needed, because 24 sums leave eight registers.
        xs = [T.bind(pairs_of_rows[quotient(first, 2) + pair, k, span(0, 16)]) for pair in range(row_pairs)]
        for column in range(column_pairs):
            weight = T.bind(weights["weight"][panel, k, span(column * 16, 16)])
            for pair, x in enumerate(xs):
                register = sums[pair][column]
                put(register, dot(get(register, lanes), x, weight, lanes), lanes)
    tile: Tile = []
    for pair in range(row_pairs):
        for parity in (0, 1):
            row = []
            for v in range(form.vectors):
                two = [get(sums[pair][2 * v + half], lanes) for half in (0, 1)]
                mine = [2 * parity, 2 * parity + 1, 2 * parity + 4, 2 * parity + 5]
                (joined,) = registers(1, lanes, "int32")
                put(joined, tvm.tirx.Shuffle(two, mine), lanes)
                row.append(form.scaled([joined], activations, first + 2 * pair + parity, weights, panel, v))
            tile.append(row)
    return tile


def row_maximum(x: Any, row: Any, depth: int, lanes: int) -> Any:
    """Return the largest magnitude of a row of ``x`` [rows, K]."""

    def combine(total: Any, k: Any, count: int) -> Any:
        return T.max(total, T.fabs(x[row, span(k, count)]))

    return T.max(*vector.fold_row(depth, lanes, f32(0.0), combine, vector.reduce_max))
