"""Multiply activations of two bytes with weights of one or two, by products of 2 x 8 and 8 x 2 bytes (``smmla``).

The two rows of such a product are the high and the low bytes of one row of activations, so that the low bytes cost
nothing. Weights of one byte are those of int8 where there is one row; those of two are fp16's, as in ``limbs.py``.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.formats import LIMB, Activations, Array, IntegerFormat, Tile
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import F32, cast, f32, flat, get, load, put, quotient, registers, span, splat
from harness.compiler.targets.profiles import Profile

PAIR = 16
"""Bytes of a vector: eight of each of two rows, or of two columns."""


class MatrixFormat(IntegerFormat):
    """Lay out weights [panels, K / 8, bytes of a weight, columns, 8], of one byte or of two each."""

    def __init__(self, profile: Profile, columns: int, weight_limbs: int, rows: int) -> None:
        super().__init__("smmla", profile, columns, limbs=2)
        self.name = {1: "int8-smmla-2", 2: "fp16-smmla"}[weight_limbs]
        self.weight_limbs, self.rows, self.row_unit = weight_limbs, rows, 1
        self.products = 2 * weight_limbs
        self.pairs = columns // 2

    def params(self, depth: int, width: int) -> list[Param]:
        weight, *rest = super().params(depth, width)
        panels, words, count = weight.shape
        return [Param(weight.name, (panels, words, self.weight_limbs * int(count)), weight.dtype, weight.role), *rest]

    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        return self.packed(weight, self.weight_limbs)

    def prepare(self, x: Any, rows: Any, depth: int) -> Activations:
        data, scales = scratch((rows, self.words(depth), 2, self.unit), "int8"), scratch((rows,))
        with T.serial(rows) as row:
            self.quantise(x, row, depth, data, scales)
        return Activations(data, scales)

    def place(self, limb: int, row: Any, k: Any, lanes: int) -> list[Any]:
        word = quotient(k, self.unit)
        return [row, word, limb, span(k - word * self.unit, lanes)]

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        count = self.weight_limbs * self.pairs
        sums = [registers(count, self.lanes, "int32") for _ in range(rows)]
        for register in itertools.chain.from_iterable(sums):
            put(register, splat(T.int32(0), self.lanes), self.lanes)
        both = flat(activations.data, (*list(activations.data.shape)[:1], self.words(depth), PAIR))
        dot = INSTRUCTIONS["smmla"]
        with T.serial(self.words(depth)) as k:
            xs = [T.bind(both[first + row, k, span(0, PAIR)]) for row in range(rows)]
            for at in range(count):
                weight = T.bind(weights["weight"][panel, k, span(at * PAIR, PAIR)])
                for row, x in enumerate(xs):
                    register = sums[row][at]
                    put(register, dot(get(register, self.lanes), x, weight, self.lanes), self.lanes)
        return [
            [self._value(sums[row], activations, first + row, weights, panel, v) for v in range(self.vectors)]
            for row in range(rows)
        ]

    def _value(self, sums: list[Any], activations: Activations, row: Any, weights: Buffers, panel: Any, v: int) -> Any:
        """Return four results. A sum has two columns' products with the row's high bytes, then with its low ones."""

        def part(weight_limb: int, limb: int) -> Any:
            two = [get(sums[weight_limb * self.pairs + 2 * v + half], self.lanes) for half in (0, 1)]
            (joined,) = registers(1, self.lanes, "int32")
            lanes = [2 * limb, 2 * limb + 1, 2 * limb + 4, 2 * limb + 5]
            put(joined, tvm.tirx.Shuffle(two, lanes), self.lanes)
            return cast(F32, get(joined, self.lanes), self.lanes)

        low = part(0, 1) if self.weight_limbs == 1 else part(0, 1) + part(1, 0)
        total = part(0, 0) + low * f32(1 / LIMB, self.lanes)
        scale = load(weights["scale"], panel, v * self.lanes, lanes=self.lanes)
        return total * (splat(activations.scales[row], self.lanes) * scale)
