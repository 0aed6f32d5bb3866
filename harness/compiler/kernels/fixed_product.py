"""Compute products of two activations whose extents are all known, by register tiles.

A tile holds the sums of some rows of the first factor for neighbouring columns of the second, whose rows are read as
they lie. The last columns that fill no vector are computed with the ones before them again, so that every vector is
whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.formats import lanes_of
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.norm import shape_name
from harness.compiler.kernels.panels import best_tile
from harness.compiler.kernels.parallel import is_worth, rounds
from harness.compiler.kernels.vector import f32, get, load, put, registers, splat, store
from harness.compiler.targets.profiles import Profile


def fixed_product(profile: Profile, leading: tuple[int, ...], rows: int, columns: int, depth: int) -> Kernel:
    """Return the kernel: (a [..., M, K], b [..., K, N]) to c [..., M, N], all float32."""
    params = (
        Param("a", (*leading, rows, depth)),
        Param("b", (*leading, depth, columns)),
        Param("c", (*leading, rows, columns), role="output"),
    )
    multiplies = math.prod(leading) * rows * columns * depth

    def emit(buffers: Buffers) -> None:
        batch = math.prod(leading)
        a = vector.flat(buffers["a"], (batch, rows, depth))
        b = vector.flat(buffers["b"], (batch, depth, columns))
        c = vector.flat(buffers["c"], (batch, rows, columns))
        with rounds(batch, worth=is_worth(multiplies / profile.lanes)) as at:
            _Product(profile, at, a, b, c, rows, columns, depth).emit()

    name = f"fixed_product_{shape_name((*leading, rows, columns, depth))}"
    return Kernel(name, params, emit, reading_all(lambda _: 2 * multiplies))


@dataclass
class _Product:
    profile: Profile
    at: Any
    a: Any
    b: Any
    c: Any
    rows: int
    columns: int
    depth: int

    def emit(self) -> None:
        starts, lanes = vector.covering(self.columns, self.profile.lanes)
        count, most = best_tile(self.profile, self.columns, self.rows)
        whole = (self.columns // lanes) // count
        if whole:
            worth = is_worth(self.rows * whole * count * self.depth)
            with rounds(whole, worth=worth) as panel:
                start = T.bind(T.Cast("int32", panel * (count * lanes)))
                self._panel([start + v * lanes for v in range(count)], lanes, most)
        if rest := starts[whole * count :]:
            self._panel(rest, lanes, most)

    def _panel(self, starts: list[Any], lanes: int, most: int) -> None:
        """Compute all rows for the vectors of columns that begin at ``starts``."""
        tiles = -(-self.rows // most)
        tall, more = -(-self.rows // tiles), self.rows % tiles
        larger = more or tiles
        self._tiles(starts, lanes, 0, tall, larger)
        if tiles > larger:
            self._tiles(starts, lanes, tall * larger, tall - 1, tiles - larger)

    def _tiles(self, starts: list[Any], lanes: int, first: int, rows: int, count: int) -> None:
        if count == 1:
            self._tile(starts, lanes, first, rows)
            return
        with T.serial(count) as number:
            self._tile(starts, lanes, T.bind(T.Cast("int32", number * rows + first)), rows)

    def _tile(self, starts: list[Any], lanes: int, row: Any, rows: int) -> None:
        sums = [registers(len(starts), lanes) for _ in range(rows)]
        for line in sums:
            for register in line:
                put(register, f32(0.0, lanes), lanes)
        steps = lanes if self.profile.rows_by_lane and lanes == self.profile.lanes else 1
        blocks = self.depth // steps if steps > 1 else 0
        if blocks:
            with T.serial(blocks) as block:
                vectors = [T.bind(load(self.a, self.at, row + r, block * steps, lanes=steps)) for r in range(rows)]
                for step in range(steps):
                    self._step(sums, starts, lanes, block * steps + step, lanes_of(vectors, step, lanes))
        rest = self.depth - blocks * steps
        if rest:
            with T.serial(rest) as k:
                at = T.bind(T.Cast("int32", k + blocks * steps))
                self._step(sums, starts, lanes, at, lambda r: splat(self.a[self.at, row + r, at], lanes))
        for r, line in enumerate(sums):
            for start, register in zip(starts, line, strict=True):
                store(self.c, get(register, lanes), self.at, row + r, start, lanes=lanes)

    def _step(self, sums: list[list[Any]], starts: list[Any], lanes: int, k: Any, spread: Any) -> None:
        columns = [T.bind(load(self.b, self.at, k, start, lanes=lanes)) for start in starts]
        for r, line in enumerate(sums):
            x = T.bind(spread(r))
            for register, one in zip(line, columns, strict=True):
                put(register, get(register, lanes) + x * one, lanes)
