"""Multiply 16-bit weights with byte products, on arm64 CPUs that would have to widen every float16.

A weight is two bytes: ``(high + low / 254) * scale``, with a scale for each column. Activations are two bytes, too,
with a scale for each row. A product is three byte products: the fourth, of both low bytes, is below the rounding. Sums
are exact in int32.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.tirx.script import builder as T

from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.formats import Activations, Array, IntegerFormat, Tile
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.vector import flat, get, put, registers, splat
from harness.compiler.targets.profiles import Profile


class LimbFormat(IntegerFormat):
    """Lay out weights [panels, K / 4, (high, low), columns, 4] of bytes, multiplied with ``sdot``."""

    def __init__(self, profile: Profile, columns: int) -> None:
        super().__init__("sdot", profile, columns, limbs=2)
        self.name, self.rows, self.products = "fp16-sdot", profile.half_rows, 3

    def params(self, depth: int, width: int) -> list[Param]:
        weight, *rest = super().params(depth, width)
        panels, words, count = weight.shape
        return [Param(weight.name, (panels, words, 2 * int(count)), weight.dtype, weight.role), *rest]

    def pack(self, weight: npt.NDArray[np.float32]) -> list[Array]:
        return self.packed(weight, 2)

    def tile(self, activations: Activations, first: Any, rows: int, weights: Buffers, panel: Any, depth: int) -> Tile:
        count = self.words(depth)
        words = flat(activations.data, (self.limbs, *list(activations.data.shape)[1:2], count), "int32")
        # Both products with one low byte count in 1/254 of the unit, so they are added up together.
        sums = [[registers(self.vectors, self.lanes, "int32") for _ in ("high", "cross")] for _ in range(rows)]
        for register in itertools.chain.from_iterable(itertools.chain.from_iterable(sums)):
            put(register, splat(T.int32(0), self.lanes), self.lanes)

        dot = INSTRUCTIONS["sdot"]

        def multiply(k: Any, word: Any) -> None:
            columns = [T.bind(self._column(weights["weight"], panel, k, v)) for v in range(2 * self.vectors)]
            for row, (high, cross) in enumerate(sums):
                x = [word(row, limb) for limb in (0, 1)]
                for v in range(self.vectors):
                    upper, lower = columns[v], columns[self.vectors + v]
                    for register, value, column in ((high, x[0], upper), (cross, x[1], upper), (cross, x[0], lower)):
                        put(register[v], dot(get(register[v], self.lanes), value, column, self.lanes), self.lanes)

        self.by_lane(words, first, rows, count, multiply)
        return [
            [self.scaled([high[v], cross[v]], activations, first + row, weights, panel, v) for v in range(self.vectors)]
            for row, (high, cross) in enumerate(sums)
        ]
