"""Lay out int4 weights in groups along the inputs, each group of a column with a float16 scale.

A weight is ``(n - 8) * scale`` with n from 0 to 15, and the scale is the group's element of the largest magnitude
divided by -8: llama.cpp's Q4_0, bit for bit (``quantize_row_q4_0_ref`` in ggml). One group of a panel is contiguous:
its scales, then its nibbles, in the order of the int8 formats. The low nibbles of a byte vector are one step of the
inner loop, and the high ones are the next.

One row multiplies nibbles as they are, adds a group up in int32, and then multiplies the sum by both scales of the
group, the weight's and the row's. Sums begin with -8 times the activations, which takes the 8 off each weight. Many
rows share a panel that is first written as int8 with one scale for each column (the two levels of QServe: Lin et al.
2024). So they are multiplied as int8 weights are, and each weight is unpacked once for all rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.formats import Activations, Array, IntegerFormat, Tile, lanes_of
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import F32, cast, chunks, f32, flat, get, load, put, registers, span, splat
from harness.compiler.targets.profiles import ALIGNMENT, IntegerDot, Profile

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
ROW_DOTS = {"vnni": "vnni-nibbles", "pairs": "bytes", "sdot": "sdot", "smmla": "sdot", "widening": "widening"}
"""How one row is multiplied, by the instruction for int8. A CPU with ``smmla`` has ``sdot``, too."""
BYTE_PAIRS = 4
"""Pairs of steps whose products fit into int16 sums: eight times two products of at most 15 * 127."""
AHEAD = 2048
"""Bytes between what is multiplied and what is fetched, so that memory is read without a pause."""
FIRST_CACHE = 3
"""LLVM's number of the cache that a prefetch fetches into."""


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

    def __init__(self, kind: IntegerDot, profile: Profile, group: int = GROUP) -> None:
        super().__init__(kind, profile, profile.columns)
        self.name = f"int4-{group}-{kind}"
        self.group = group
        self.step = 1 if kind == "widening" else 4
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

    def _halves(self, weights: Buffers, panel: Any, group: Any, pair: Any, block: int) -> list[Any]:
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
                    steps = []
                    for nibbles in self._halves(weights, panel, group, pair, block):
                        step = cast("int16", nibbles - splat(T.int8(ZERO), count), count)
                        value = step * factor + splat(T.int16(1 << FRACTION >> 1), count)
                        value = T.shift_right(value, splat(T.int16(FRACTION), count))
                        steps.append(T.bind(cast("int8", value, count)))
                    self._store(unpacked, steps, group * self.group_steps // 2 + pair, block)
        opened = {name: self._of_panel(weights[name], panel) for name in ("scale", "start") if name in weights}
        return {**opened, "weight": unpacked}, 0

    def _store(self, unpacked: Any, steps: list[Any], pair: Any, block: int) -> None:
        """Store two steps of some columns as the words of the int8 format: the inputs of each column in order."""
        step, unit, count = self.step, self.unit, self.across * self.unit
        words = 2 * step // unit
        for word in range(words):
            inputs = [(at // unit, word * unit + at % unit) for at in range(count)]
            lanes = [column * step + k % step + (k >= step) * self.across * step for column, k in inputs]
            whole = unit == step
            part = steps[word] if whole else tvm.tirx.Shuffle(steps, lanes)
            T.buffer_store(unpacked, part, [0, pair * words + word, span(block * count, count)])

    def _of_panel(self, buffer: Any, panel: Any) -> Any:
        return vector.view(buffer, (1, self.columns), panel * self.columns)


class GroupRow(GroupFormat):
    """Multiply one row with nibbles. Each group of its activations has a scale of its own, as in llama.cpp's Q8_0."""

    opens = False

    def __init__(self, kind: IntegerDot, profile: Profile, group: int = GROUP) -> None:
        super().__init__(kind, profile, group)
        self.dot = ROW_DOTS[kind]
        self.name = f"int4-{group}-{self.dot}-row"
        self.unit, self.row_unit, self.offset = self.step, 1, 0
        self.activation = "int16" if self.dot == "widening" else "int8"
        self.steps = self.lanes if self.dot == "sdot" else 1

    def _panel_params(self, panels: int) -> list[Param]:
        return []

    def _panel_arrays(self, nibbles: Array, scales: Array) -> list[Array]:
        return []

    def opened(self, weights: Buffers, panel: Any, depth: int) -> tuple[Buffers, Any]:
        return weights, panel

    def largest(self, depth: int) -> int:
        """Return the largest activation. Sums of a group cannot overflow."""
        return 127 if self.activation == "int8" else 32767

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        padded = self.groups(depth) * self.group
        data = scratch((1, 1, padded), self.activation)
        scales, starts = scratch((self.groups(depth),)), scratch((self.groups(depth),), "int32")
        if padded > depth:
            x = self._padded_row(x, depth, padded)
        with T.serial(self.groups(depth)) as group:
            self._quantise_group(x, group, depth, data, scales, starts)
        return Activations(data, scales, starts)

    def _padded_row(self, x: Any, depth: int, padded: int) -> Any:
        """Return the row with zeros behind it, up to whole groups."""
        row = scratch((1, padded))
        chunks(depth, self.lanes, lambda k, lanes: T.buffer_store(row, x[0, span(k, lanes)], [0, span(k, lanes)]))
        with T.serial(padded - depth) as rest:
            T.buffer_store(row, T.float32(0), [0, depth + rest])
        return row

    def _quantise_group(self, x: Any, group: Any, depth: int, data: Any, scales: Any, starts: Any) -> None:
        lanes, largest = self.lanes, self.largest(depth)
        (top,), (total,) = registers(1, lanes), registers(1, lanes, "int32")
        places = [group * self.group + at for at in range(0, self.group, lanes)]
        put(top, f32(0.0, lanes), lanes)
        for place in places:
            put(top, T.max(get(top, lanes), T.fabs(x[0, span(place, lanes)])), lanes)
        # It is bounded below, so that a group of zeros has a scale that can be divided by.
        highest = T.bind(T.max(vector.reduce_max(top, lanes), T.float32(1e-20)))
        factor = T.bind(T.float32(largest) / highest)
        put(total, splat(T.int32(0), lanes), lanes)
        for place in places:
            whole = T.bind(cast("int32", T.nearbyint(x[0, span(place, lanes)] * splat(factor, lanes)), lanes))
            T.buffer_store(data, cast(self.activation, whole, lanes), [0, 0, span(place, lanes)])
            put(total, get(total, lanes) + whole, lanes)
        T.buffer_store(scales, highest * T.float32(1.0 / largest), [group])
        T.buffer_store(starts, vector.reduce_sum(total, lanes) * T.int32(-ZERO), [group])

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        sums, scales = registers(self.vectors, self.lanes), self._scales(weights)
        for register in sums:
            put(register, f32(0.0, self.lanes), self.lanes)
        words = flat(activations.data, (self.words(depth),), "int16" if self.unit == 1 else "int32")
        with T.serial(self.groups(depth)) as group:
            self._fetch(weights["weight"], panel, group)
            totals = registers(self.vectors, self.lanes, "int32")
            for total in totals:
                put(total, splat(activations.starts[group], self.lanes), self.lanes)
            self._add_group(words, weights, panel, group, totals)
            by_row = T.bind(splat(activations.scales[group], self.lanes))
            for v, register in enumerate(sums):
                scale = load(scales, panel, group, v * self.lanes, lanes=self.lanes) * by_row
                value = cast(F32, get(totals[v], self.lanes), self.lanes)
                put(register, get(register, self.lanes) + value * scale, self.lanes)
        return [[get(register, self.lanes) for register in sums]]

    def _fetch(self, weight: Any, panel: Any, group: Any) -> None:
        """Fetch what is read :data:`AHEAD` bytes later. Behind the last panel something else is fetched."""
        for at in range(0, self.group_bytes, ALIGNMENT):
            address = T.address_of(weight[panel, group, at + AHEAD])
            T.evaluate(T.call_intrin("void", "tirx.prefetch", address, 0, FIRST_CACHE, 1))

    def _add_group(self, words: Any, weights: Buffers, panel: Any, group: Any, totals: list[Any]) -> None:
        """Add the products of a group to int32 sums."""
        pairs = self.group_steps // 2
        if self.dot == "widening":
            # As many products as inputs: unrolled, LLVM would widen all nibbles first, and keep them on the stack.
            with T.serial(pairs) as pair:
                self._multiply(words, weights, panel, group, pair, totals, self.lanes)
            return
        if self.dot != "bytes":
            for pair in range(pairs):
                self._multiply(words, weights, panel, group, pair, totals, self.lanes)
            return
        for first in range(0, pairs, BYTE_PAIRS):
            halves = registers(self.vectors, 2 * self.lanes, "int16")
            for register in halves:
                put(register, splat(T.int16(0), 2 * self.lanes), 2 * self.lanes)
            for pair in range(first, first + BYTE_PAIRS):
                self._multiply(words, weights, panel, group, pair, halves, 2 * self.lanes)
            for total, register in zip(totals, halves, strict=True):
                folded = INSTRUCTIONS["folded"](get(total, self.lanes), 1, get(register, 2 * self.lanes), self.lanes)
                put(total, folded, self.lanes)

    def _multiply(
        self, words: Any, weights: Buffers, panel: Any, group: Any, pair: Any, sums: list[Any], count: int
    ) -> None:
        """Emit the products of two steps; sums have ``count`` numbers each."""
        spread = self._word(words, group, 2 * pair)
        for block in range(self.columns // self.across):
            for x, nibbles in zip(spread, self._halves(weights, panel, group, pair, block), strict=True):
                for within in range(self.across // self.lanes):
                    register = sums[block * (self.across // self.lanes) + within]
                    value = INSTRUCTIONS[self.dot](get(register, count), x, self._part(nibbles, within), self.lanes)
                    put(register, value, count)

    def _part(self, nibbles: Any, at: int) -> Any:
        """Return one vector of columns of those that were read at once."""
        count = self.lanes * self.unit
        if self.across == self.lanes:
            return nibbles
        return tvm.tirx.Shuffle([nibbles], list(range(at * count, (at + 1) * count)))

    def _word(self, words: Any, group: Any, at: Any) -> list[Any]:
        """Return two neighbouring words of the row, as the dot product takes them."""
        first = group * self.group_steps + at
        if self.steps == 1:
            return [T.bind(words[first + half]) for half in (0, 1)]
        # The third operand of an instruction is a lane of a vector of words.
        start = at // self.steps * self.steps
        both = T.bind(words[span(group * self.group_steps + start, self.steps)])
        return [lanes_of([both], at - start + half, self.lanes)(0) for half in (0, 1)]
