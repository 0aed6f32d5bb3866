"""Lay out int4 weights in groups along the inputs, each group of a column with a float16 scale.

A weight is ``(n - 8) * scale`` with n from 0 to 15, and the scale is the group's element of the largest magnitude
divided by -8: llama.cpp's Q4_0, bit for bit (``quantize_row_q4_0_ref`` in ggml). One group of a panel is contiguous:
its scales, then its nibbles, in the order of the int8 formats. The low nibbles of a byte vector are one step of the
inner loop, and the high ones are the next.

One row multiplies nibbles as they are, adds a group up in int32, and then multiplies the sum by the group's scale. Its
sums begin with -8 times the group's activations, which takes the 8 off each weight. Many rows share a panel that is
first written as int8 with one scale for each column (the two levels of QServe: Lin et al. 2024). So they are
multiplied as int8 weights are, and each weight is unpacked once for all rows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.formats import LIMB, Activations, Array, IntegerFormat, Tile, lanes_of
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import F32, cast, f32, flat, get, load, put, quotient, registers, span, splat
from harness.compiler.targets.profiles import IntegerDot, Profile

GROUP = 32
"""The inputs that share a scale, as in Q4_0."""
ZERO = 8
"""The nibble of a weight that is 0."""
FRACTION = 8
"""The bits behind the point of the factors by which nibbles become int8."""
LEAST_BYTES = 16
"""The least bytes of nibbles that are read at once: a vector of arm64."""
HALF_BYTES = 2
"""Bytes of a float16 scale."""


def grouped(weight: npt.NDArray[np.float32], group: int) -> tuple[Array, Array]:
    """Round a weight [K, N] to the nearest steps.

    Returns the nibbles, uint8[K', N], and the scales, float16[K' / group, N]. K' is K up to whole groups. The sums are
    those of Q4_0, in float64 because ggml's result depends on fused multiply-adds otherwise.
    """
    depth, width = weight.shape
    padded = np.zeros((-(-depth // group) * group, width), np.float32)
    padded[:depth] = weight
    groups = padded.reshape(-1, group, width)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=1)[:, None], axis=1)
    scales = largest / np.float32(-ZERO)
    inverse = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales != 0)
    steps = np.trunc(groups.astype(np.float64) * inverse + (ZERO + 0.5))
    nibbles = np.clip(steps, 0, 15).astype(np.uint8)
    return nibbles.reshape(padded.shape), scales[:, 0].astype(np.float16)


def column_scales(scales: Array) -> npt.NDArray[np.float32]:
    """Return the scale of each column, float32[N], with which its groups become int8."""
    found = np.abs(scales.astype(np.float32)).max(axis=0) * np.float32(ZERO / 127)
    found[found == 0] = 1
    result: npt.NDArray[np.float32] = found
    return result


def eight_bits(nibbles: Array, scales: Array) -> npt.NDArray[np.int8]:
    """Return int8 weights [K', N] as many rows meet them: in steps of :func:`column_scales`, by integer arithmetic."""
    factors = np.rint(scales.astype(np.float32) * (np.float32(1 << FRACTION) / column_scales(scales)))
    spread = np.repeat(factors.astype(np.int32), len(nibbles) // len(scales), axis=0)
    found = (nibbles.astype(np.int32) - ZERO) * spread + (1 << FRACTION >> 1) >> FRACTION
    return found.astype(np.int8)


class GroupFormat(IntegerFormat):
    """Lay out weights [panels, groups, (scales, nibbles)] for many rows."""

    opens = True

    def __init__(self, kind: IntegerDot, profile: Profile, group: int = GROUP, limbs: int = 1) -> None:
        super().__init__(kind, profile, profile.columns, limbs)
        self.name = f"int4-{group}-{kind}" + (f"-{limbs}" if limbs > 1 else "")
        self.group = group
        self.step = 4 if kind == "pairs" else self.unit
        """The inputs of a column that lie side by side."""
        self.across = max(self.lanes, LEAST_BYTES // self.step)
        """The columns of a vector of nibbles."""

    def groups(self, depth: int) -> int:
        return -(-depth // self.group)

    def words(self, depth: int) -> int:
        return self.groups(depth) * self.group // self.unit

    @property
    def group_steps(self) -> int:
        return self.group // self.step

    @property
    def group_bytes(self) -> int:
        """Return the bytes of a panel's group."""
        return self.columns * (HALF_BYTES + self.group // 2)

    def params(self, depth: int, width: int) -> list[Param]:
        panels = self.panels(width)
        found = [Param("weight", (panels, self.groups(depth), self.group_bytes), "uint8", "weight")]
        return [*found, *self._panel_params(panels)]

    def _panel_params(self, panels: int) -> list[Param]:
        found = [Param("scale", (panels, self.columns), F32, "weight")]
        if self.offset:
            found.append(Param("start", (panels, self.columns), "int32", "weight"))
        return found

    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        nibbles, scales = grouped(self._padded(weight, self.group), self.group)
        return [self._laid_out(nibbles, scales), *self._panel_arrays(nibbles, scales)]

    def _laid_out(self, nibbles: Array, scales: Array) -> Array:
        shape = (len(scales), self.group_steps, self.step, -1, self.columns)
        words = nibbles.reshape(shape).transpose(3, 0, 1, 4, 2)
        panels, groups = words.shape[:2]
        pairs = words.reshape(panels, groups, self.group_steps // 2, 2, -1)
        both = (pairs[:, :, :, 0] | pairs[:, :, :, 1] << 4).reshape(panels, groups, -1)
        halves = np.ascontiguousarray(scales.reshape(groups, panels, self.columns).transpose(1, 0, 2))
        return np.concatenate([halves.view(np.uint8), both], axis=2)

    def _panel_arrays(self, nibbles: Array, scales: Array) -> list[Array]:
        found: list[Array] = [column_scales(scales).reshape(-1, self.columns)]
        if self.offset:
            starts = -self.offset * eight_bits(nibbles, scales).astype(np.int32).sum(axis=0)
            found.append(starts.astype(np.int32).reshape(-1, self.columns))
        return found

    def read(self, packed: Array) -> npt.NDArray[np.float32]:
        """Return the padded weight [K', N] that the first array of :meth:`pack` stands for."""
        panels, groups = packed.shape[:2]
        scales = np.ascontiguousarray(packed[:, :, : HALF_BYTES * self.columns]).view(np.float16)
        both = packed[:, :, HALF_BYTES * self.columns :].reshape(panels, groups, self.group_steps // 2, 1, -1)
        words = np.concatenate([both & 15, both >> 4], axis=3)
        nibbles = words.reshape(panels, groups, self.group_steps, self.columns, self.step).transpose(1, 2, 4, 0, 3)
        steps = nibbles.reshape(groups, self.group, -1).astype(np.float32) - ZERO
        weight = steps * scales.transpose(1, 0, 2).reshape(groups, 1, -1).astype(np.float32)
        result: npt.NDArray[np.float32] = weight.reshape(groups * self.group, -1)
        return result

    def _scales(self, weights: Buffers) -> Any:
        """Return the memory of the weights as float16 [panels, groups, values]; a group's first ones are its scales."""
        weight = weights["weight"]
        panels, groups, count = weight.shape
        return flat(weight, (panels, groups, int(count) // HALF_BYTES), "float16")

    def _halves(self, weights: Buffers, panel: Any, group: Any, pair: int, block: int) -> list[Any]:
        """Return the nibbles of two steps as int8 vectors, for one of the panel's blocks of ``across`` columns."""
        count = self.across * self.step
        start = HALF_BYTES * self.columns + (pair * self.columns + block * self.across) * self.step
        both = T.bind(weights["weight"][panel, group, span(start, count)])
        parts = (T.bitwise_and(both, splat(T.uint8(15), count)), T.shift_right(both, splat(T.uint8(4), count)))
        return [T.bind(T.reinterpret(f"int8x{count}", part)) for part in parts]

    def opened(self, weights: Buffers, panel: Any, depth: int) -> tuple[Buffers, Any]:
        """Write the panel as int8; return the buffers of the int8 format, and the panel's number in them."""
        unpacked = scratch((1, self.words(depth), self.columns * self.unit), "int8")
        scales, count = self._scales(weights), self.across * self.step
        blocks = range(self.columns // self.across)
        factors = [
            T.bind(f32(1 << FRACTION, self.across) / load(weights["scale"], panel, b * self.across, lanes=self.across))
            for b in blocks
        ]
        with T.serial(self.groups(depth)) as group:
            for block in blocks:
                scale = load(scales, panel, group, block * self.across, lanes=self.across)
                whole = cast("int32", T.nearbyint(scale * factors[block]), self.across)
                by_column = T.bind(cast("int16", whole, self.across))
                # A shuffle has no more lanes than it is given.
                factor = T.bind(tvm.tirx.Shuffle([by_column] * self.step, [at // self.step for at in range(count)]))
                for pair in range(self.group_steps // 2):
                    for half, nibbles in enumerate(self._halves(weights, panel, group, pair, block)):
                        step = cast("int16", nibbles - splat(T.int8(ZERO), count), count)
                        value = step * factor + splat(T.int16(1 << FRACTION >> 1), count)
                        value = T.shift_right(value, splat(T.int16(FRACTION), count))
                        at = group * self.group_steps + 2 * pair + half
                        self._store(unpacked, T.bind(cast("int8", value, count)), at, block)
        opened = {name: self._of_panel(weights[name], panel) for name in ("scale", "start") if name in weights}
        return {**opened, "weight": unpacked}, 0

    def _store(self, unpacked: Any, value: Any, step: Any, block: int) -> None:
        """Store a step of some columns as the words that the int8 format reads."""
        words, count = self.step // self.unit, self.across * self.unit
        for word in range(words):
            # Bytes of a column lie side by side: those of each word are taken together.
            lanes = [at // self.unit * self.step + word * self.unit + at % self.unit for at in range(count)]
            part = value if words == 1 else tvm.tirx.Shuffle([value], lanes)
            T.buffer_store(unpacked, part, [0, step * words + word, span(block * count, count)])

    def _of_panel(self, buffer: Any, panel: Any) -> Any:
        return vector.view(buffer, (1, self.columns), panel * self.columns)


class _RowFormat(GroupFormat):
    """Share what formats of one row have: weights that stay nibbles. The arrays of many rows' int8 are left out."""

    opens = False

    def _panel_params(self, panels: int) -> list[Param]:
        return []

    def _panel_arrays(self, nibbles: Array, scales: Array) -> list[Array]:
        return []

    def opened(self, weights: Buffers, panel: Any, depth: int) -> tuple[Buffers, Any]:
        return weights, panel


class GroupRow(_RowFormat):
    """Multiply one row with nibbles, for the dot products that multiply a row's word with a vector of columns."""

    def __init__(self, kind: IntegerDot, profile: Profile, group: int = GROUP) -> None:
        super().__init__(kind, profile, group, 2 if kind in ("vnni", "sdot") else 1)
        self.offset = 0  # the nibbles are the unsigned factor

    def largest(self, depth: int) -> int:
        """Return the largest activation. Sums of a group cannot overflow."""
        return 127 if self.activation == "int8" else 32767

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        activations = super().prepare(x, rows, depth)
        starts = scratch((self.limbs, self.groups(depth)), "int32")
        with T.serial(self.groups(depth)) as group:
            for limb in range(self.limbs):
                (total,) = registers(1, self.lanes, "int32")
                for at in range(0, self.group, self.lanes):
                    place = [limb, 0, span(group * self.group + at, self.lanes)]
                    read = cast("int32", activations.data[tuple(place)], self.lanes)
                    put(total, read if at == 0 else get(total, self.lanes) + read, self.lanes)
                T.buffer_store(starts, vector.reduce_sum(total, self.lanes) * T.int32(-ZERO), [limb, group])
        return Activations(activations.data, activations.scales, starts)

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        sums, scales = registers(self.vectors, self.lanes), self._scales(weights)
        for register in sums:
            put(register, f32(0.0, self.lanes), self.lanes)
        shape = (self.limbs, self.words(depth))
        words = flat(activations.data, shape, {1: "int16", 2: "int32", 4: "int32"}[self.unit])
        with T.serial(self.groups(depth)) as group:
            totals = self._started(activations.starts, group)
            for pair in range(self.group_steps // 2):
                self._multiply(words, weights, panel, group, pair, totals)
            for v, register in enumerate(sums):
                scale = load(scales, panel, group, v * self.lanes, lanes=self.lanes)
                value = self._total([limb[v] for limb in totals], activations.starts, group)
                put(register, get(register, self.lanes) + value * scale, self.lanes)
        by_row = splat(self._unit(activations.scales[first]), self.lanes)
        return [[get(register, self.lanes) * by_row for register in sums]]

    def _started(self, starts: Any, group: Any) -> list[list[Any]]:
        """Return the sums of a group at its beginning, by limb and vector."""
        totals = [registers(self.vectors, self.lanes, "int32") for _ in range(self.limbs)]
        for limb, registers_ in enumerate(totals):
            for register in registers_:
                put(register, splat(starts[limb, group], self.lanes), self.lanes)
        return totals

    def _total(self, limbs: list[Any], starts: Any, group: Any) -> Any:
        """Return a vector's sum of a group as float32."""
        parts = [cast(F32, get(limb, self.lanes), self.lanes) for limb in limbs]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1] * f32(1 / LIMB, self.lanes)

    def _unit(self, scale: Any) -> Any:
        """Return what a total of 1 is worth, but for its group's scale."""
        return scale

    def _multiply(
        self, words: Any, weights: Buffers, panel: Any, group: Any, pair: int, totals: list[list[Any]]
    ) -> None:
        """Emit the products of two steps."""
        spread = [self._word(words, limb, group, 2 * pair) for limb in range(self.limbs)]
        for block in range(self.columns // self.across):
            for half, nibbles in enumerate(self._halves(weights, panel, group, pair, block)):
                for within in range(self.across // self.lanes):
                    column = self._part(nibbles, within)
                    v = block * (self.across // self.lanes) + within
                    for limb, total in enumerate(totals):
                        self._add(total[v], spread[limb][half], column)

    def _add(self, total: Any, x: Any, column: Any) -> None:
        dot = INSTRUCTIONS["vnni-nibbles" if self.kind == "vnni" else self.kind]
        put(total, dot(get(total, self.lanes), x, column, self.lanes), self.lanes)

    def _part(self, nibbles: Any, at: int) -> Any:
        """Return one vector of columns of those that were read at once."""
        count = self.lanes * self.unit
        if self.across == self.lanes:
            return nibbles
        return tvm.tirx.Shuffle([nibbles], list(range(at * count, (at + 1) * count)))

    def _word(self, words: Any, limb: int, group: Any, at: int) -> list[Any]:
        """Return two neighbouring words of the row, as ``dot`` takes them."""
        first = group * self.group_steps + at
        if self.steps == 1:
            return [T.bind(words[limb, first + half]) for half in (0, 1)]
        # The third operand of an instruction is a lane of a vector of words.
        start = at // self.steps * self.steps
        both = T.bind(words[limb, span(group * self.group_steps + start, self.steps)])
        return [lanes_of([both], at - start + half, self.lanes)(0) for half in (0, 1)]


class GroupByteRow(GroupRow):
    """Multiply one row with nibbles by ``vpmaddubsw``, on x86 CPUs without products of four bytes.

    The products of 32 inputs fit into int16 sums: two at once are at most 2 * 15 * 127, eight times. Then both limbs
    become one int32 sum, in units of the second limb.
    """

    def __init__(self, profile: Profile, group: int = GROUP) -> None:
        super().__init__("pairs", profile, group)
        self.name, self.limbs, self.unit, self.activation = f"int4-{group}-bytes-2", 2, 4, "int8"

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        activations = super().prepare(x, rows, depth)
        starts = scratch((1, self.groups(depth)), "int32")
        with T.serial(self.groups(depth)) as group:
            both = activations.starts[0, group] * T.int32(int(LIMB)) + activations.starts[1, group]
            T.buffer_store(starts, both, [0, group])
        return Activations(activations.data, activations.scales, starts)

    def _started(self, starts: Any, group: Any) -> list[list[Any]]:
        totals = [registers(self.vectors, 2 * self.lanes, "int16") for _ in range(self.limbs)]
        for register in itertools.chain.from_iterable(totals):
            put(register, splat(T.int16(0), 2 * self.lanes), 2 * self.lanes)
        return totals

    def _add(self, total: Any, x: Any, column: Any) -> None:
        value = INSTRUCTIONS["bytes"](get(total, 2 * self.lanes), x, column, self.lanes)
        put(total, value, 2 * self.lanes)

    def _total(self, limbs: list[Any], starts: Any, group: Any) -> Any:
        value = splat(starts[0, group], self.lanes)
        for limb, factor in zip(limbs, (int(LIMB), 1), strict=True):
            value = INSTRUCTIONS["folded"](value, T.int16(factor), get(limb, 2 * self.lanes), self.lanes)
        return cast(F32, value, self.lanes)

    def _unit(self, scale: Any) -> Any:
        return scale * T.float32(1 / LIMB)


class GroupMatrixRow(_RowFormat):
    """Multiply one row with nibbles by ``smmla``. The two rows of a product are the high and low bytes of one row."""

    def __init__(self, profile: Profile, group: int = GROUP) -> None:
        super().__init__("smmla", profile, group, 2)
        self.row_unit, self.across = 1, 2
        self.pairs = self.columns // 2

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        data, scales = scratch((rows, self.words(depth), 2, self.unit), "int8"), scratch((rows,))
        self.quantise(x, 0, depth, data, scales)
        starts = scratch((self.groups(depth), self.lanes), "int32")
        both = flat(data, (self.words(depth), 2 * self.unit))
        with T.serial(self.groups(depth)) as group:
            (total,) = registers(1, self.lanes, "int32")
            put(total, splat(T.int32(0), self.lanes), self.lanes)
            for word in range(self.group_steps):
                x_word = both[group * self.group_steps + word, span(0, 2 * self.unit)]
                eights = splat(T.int8(-ZERO), 2 * self.unit)
                put(total, INSTRUCTIONS["smmla"](get(total, self.lanes), x_word, eights, self.lanes), self.lanes)
            T.buffer_store(starts, get(total, self.lanes), [group, span(0, self.lanes)])
        return Activations(data, scales, starts)

    def place(self, limb: int, row: Any, k: Any, lanes: int) -> list[Any]:
        word = quotient(k, self.unit)
        return [row, word, limb, span(k - word * self.unit, lanes)]

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        sums, scales, dot = registers(self.pairs, self.lanes), self._scales(weights), INSTRUCTIONS["smmla"]
        for register in sums:
            put(register, f32(0.0, self.lanes), self.lanes)
        both = flat(activations.data, (self.words(depth), 2 * self.unit))
        with T.serial(self.groups(depth)) as group:
            totals = registers(self.pairs, self.lanes, "int32")
            for total in totals:
                put(total, activations.starts[group, span(0, self.lanes)], self.lanes)
            for pair in range(self.group_steps // 2):
                word = group * self.group_steps + 2 * pair
                xs = [T.bind(both[word + half, span(0, 2 * self.unit)]) for half in (0, 1)]
                for at, total in enumerate(totals):
                    for x, nibbles in zip(xs, self._halves(weights, panel, group, pair, at), strict=True):
                        put(total, dot(get(total, self.lanes), x, nibbles, self.lanes), self.lanes)
            for v in range(self.vectors):
                four = T.bind(load(scales, panel, group, v * self.lanes, lanes=self.lanes))
                for half in (0, 1):
                    at = 2 * v + half
                    scale = tvm.tirx.Shuffle([four], [2 * half, 2 * half + 1] * 2)
                    value = cast(F32, get(totals[at], self.lanes), self.lanes) * scale
                    put(sums[at], get(sums[at], self.lanes) + value, self.lanes)
        by_row = splat(activations.scales[first], self.lanes)
        return [[self._joined(sums, v) * by_row for v in range(self.vectors)]]

    def _joined(self, sums: list[Any], v: int) -> Any:
        """Return four results. A sum has two columns' products with the row's high bytes, then with its low ones."""
        two = [get(sums[2 * v + half], self.lanes) for half in (0, 1)]
        high, low = (tvm.tirx.Shuffle(two, [at, at + 1, at + 4, at + 5]) for at in (0, 2))
        return high + low * f32(1 / LIMB, self.lanes)

