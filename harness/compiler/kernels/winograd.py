"""Compute convolutions of 3 x 3 by the minimal filtering of Winograd (Lavin and Gray 2015), with channels last.

A tile of m x m results needs (m + 2)^2 products for each pair of channels, not 9 m^2: 2.25 times fewer for m = 2, and
4 times fewer for m = 4. Filters are transformed when the model is compiled. The points for m = 4 are 0, +-1/sqrt(2),
+-sqrt(2) and infinity: sums of theirs lose less than those of 0, +-1, +-2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.finishing import Finisher, by_vector, part, pieces
from harness.compiler.kernels.formats import Array, lanes_of
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.panels import Convolution, best_tile
from harness.compiler.kernels.parallel import ENOUGH, is_worth, rounds
from harness.compiler.kernels.scratch import scratch
from harness.compiler.kernels.vector import F32, f32, get, load, put, registers, splat, store
from harness.compiler.targets.profiles import Profile

Outputs = Literal[2, 4]
Vectors = list[Any]

BLOCK_BYTES = 1 << 18
"""The bytes of transformed tiles that are multiplied with all filters before the next are made."""
LEAST_TILES = 16
"""The least tiles of a block, if there are so many: each block reads all filters."""
NEAR, FAR = math.sqrt(0.5), math.sqrt(2.0)
"""The points for m = 4. Their squares' product is 1, and their squares' sum is 2.5."""
POINTS: dict[int, tuple[float, ...]] = {2: (0.0, 1.0, -1.0), 4: (0.0, NEAR, -NEAR, FAR, -FAR)}
WORTH = 1.15
"""How many times faster than the direct form it has to seem: the filters take more memory."""


def filter_matrix(m: int) -> Array:
    """Return the matrix [m + 2, 3] that transforms a filter along one axis."""
    points = POINTS[m]
    rows = []
    for at, point in enumerate(points):
        others = math.prod(point - other for i, other in enumerate(points) if i != at)
        rows.append([point**power / others for power in range(3)])
    return np.array([*rows, [0.0, 0.0, 1.0]])


def transformed_image(m: int, d: Vectors, times: Callable[[float, Any], Any]) -> Vectors:
    """Return the m + 2 values of an image along one axis; ``times`` multiplies a value by a number."""
    if m == 2:
        return [d[2] - d[0], d[1] + d[2], d[2] - d[1], d[3] - d[1]]
    even = [d[4] - times(FAR**2, d[2]), d[4] - times(NEAR**2, d[2])]
    odd = [d[3] - times(FAR**2, d[1]), d[3] - times(NEAR**2, d[1])]
    middle = [e + sign * times(p, o) for e, o, p in zip(even, odd, (NEAR, FAR), strict=True) for sign in (1, -1)]
    return [d[4] - times(2.5, d[2]) + d[0], *middle, d[5] - times(2.5, d[3]) + d[1]]


def results(m: int, s: Vectors, times: Callable[[float, Any], Any]) -> Vectors:
    """Return the m results along one axis of m + 2 sums of products."""
    if m == 2:
        return [s[0] + s[1] + s[2], s[1] - s[2] + s[3]]
    near, far, near_odd, far_odd = s[1] + s[2], s[3] + s[4], s[1] - s[2], s[3] - s[4]
    return [
        s[0] + near + far,
        times(NEAR, near_odd) + times(FAR, far_odd),
        times(NEAR**2, near) + times(FAR**2, far),
        times(NEAR**3, near_odd) + times(FAR**3, far_odd) + s[5],
    ]


@dataclass(frozen=True)
class Winograd:
    """Describe how a convolution is cut: ``across`` x ``down`` tiles an image, multiplied ``block`` at a time."""

    conv: Convolution
    m: Outputs
    down: int
    across: int
    block: int
    rows: int
    vectors: int
    lanes: int

    @property
    def points(self) -> int:
        return (self.m + 2) ** 2

    @property
    def tiles(self) -> int:
        return self.conv.batch * self.down * self.across

    @property
    def columns(self) -> int:
        """Return the columns of all panels: the filters, and what is behind them."""
        return -(-self.conv.filters // self.lanes) * self.lanes

    @property
    def panels(self) -> list[tuple[int, int, int]]:
        """Return the first column, the vectors and the count of each kind of panel."""
        total = self.columns // self.lanes
        whole, rest = divmod(total, self.vectors)
        found = [(0, self.vectors, whole)] if whole else []
        return [*found, *([(whole * self.vectors * self.lanes, rest, 1)] if rest else [])]


def winograd(conv: Convolution, profile: Profile, m: Outputs) -> Winograd:
    """Cut a convolution into tiles and blocks."""
    down, across = (-(-extent // m) for extent in conv.result)
    tiles = conv.batch * down * across
    points = (m + 2) ** 2
    most = max(LEAST_TILES, BLOCK_BYTES // (points * conv.channels * 4))
    if points * conv.channels * conv.filters * 4 <= BLOCK_BYTES:
        # Filters that stay in the cache may be read more often, so that threads have blocks to share.
        most = max(LEAST_TILES, min(most, -(-tiles // ENOUGH)))
    block = -(-tiles // -(-tiles // most))
    vectors, rows = best_tile(profile, conv.filters, block)
    return Winograd(conv, m, down, across, block, rows, vectors, profile.lanes)


def fits(conv: Convolution) -> bool:
    """Return whether a convolution has the form that the transforms are made for."""
    plain = conv.strides == conv.dilation == (1, 1) and conv.groups == 1
    return conv.kernel == (3, 3) and plain and not conv.planar and not conv.of_rows


def choose_winograd(conv: Convolution, profile: Profile) -> Winograd | None:
    """Return the fastest form by a model of its cycles; None if the direct form is about as fast."""
    if not fits(conv) or conv.channels < profile.lanes or conv.filters < profile.lanes:
        return None
    direct = conv.multiplies / (2 * profile.lanes * 0.85) + _reading(9 * conv.channels * conv.filters)
    forms = [winograd(conv, profile, 2), winograd(conv, profile, 4)]
    best = min(forms, key=_cycles)
    return best if _cycles(best) * WORTH < direct else None


def _cycles(form: Winograd) -> float:
    conv, points = form.conv, form.points
    products = form.tiles * points * conv.channels * form.columns / (2 * form.lanes * 0.8)
    # A point is read, transformed twice with about six operations, and written.
    moved = form.tiles * points * 4.5 * (conv.channels + conv.filters) / form.lanes
    return products + moved + _reading(points * conv.channels * conv.filters)


def _reading(weights: float) -> float:
    """Return the cycles for weights that come from behind the second cache."""
    return max(0.0, weights * 4 - (1 << 19)) / 16


def pack_winograd(form: Winograd, weight: Array) -> Array:
    """Return a weight [3, 3, C, O] transformed, in panels [points, C, columns]."""
    conv, matrix = form.conv, filter_matrix(form.m)
    there = np.einsum("ia,jb,abco->ijco", matrix, matrix, weight.astype(np.float64))
    padded = np.zeros((form.points, conv.channels, form.columns), np.float32)
    padded[..., : conv.filters] = there.reshape(form.points, conv.channels, conv.filters)
    parts = []
    for first, vectors, count in form.panels:
        wide = vectors * form.lanes
        part_ = padded[..., first : first + count * wide].reshape(form.points, conv.channels, count, wide)
        parts.append(part_.transpose(2, 0, 1, 3).reshape(-1))
    return np.concatenate(parts)


def winograd_kernel(profile: Profile, form: Winograd) -> Kernel:
    """Return the kernel: (x, tensors of the epilogue, packed filters, shift [filters], channels of it) to y."""
    conv = form.conv
    tensors, channels = conv.epilogue.params(conv.filters, conv.result_shape)
    params = (
        Param("x", conv.image_shape),
        *tensors,
        Param("weight", (form.points * conv.channels * form.columns,), F32, "weight"),
        Param("shift", (conv.filters,), F32, "weight"),
        *channels,
        Param("y", conv.result_shape, role="output"),
    )
    name = f"conv_winograd_{form.m}_{conv.label}_{form.rows}x{form.vectors}x{form.lanes}"
    cost = reading_all(lambda _: 2 * form.points * form.tiles * conv.channels * conv.filters)
    return Kernel(name, params, lambda b: _Emitter(profile, form, b).emit(), cost, alone=True)


class _Emitter:
    def __init__(self, profile: Profile, form: Winograd, buffers: Buffers) -> None:
        self.profile, self.form, self.conv, self.buffers = profile, form, form.conv, buffers
        self.lanes, (self.height, self.width) = profile.lanes, form.conv.size
        self.x = vector.flat(buffers["x"], (self.conv.batch * self.height * self.width, self.conv.channels))
        self.finisher = Finisher(self.conv, profile, buffers)
        self.wide = form.vectors * form.lanes
        # A line more than the tiles need keeps the points' lines out of the same places of the caches.
        self.plane = form.block * self.conv.channels + 16
        self.steps = profile.lanes if profile.rows_by_lane else 1

    def emit(self) -> None:
        form = self.form
        blocks = -(-form.tiles // form.block)
        # Threads share the blocks; if those are few, they share the tiles and then the panels of each.
        within = self.worth and blocks < ENOUGH // 2
        pixels = self.conv.result[1]

        def patch() -> Any:
            return scratch((form.points, self.lanes))

        def sums() -> Any:
            return scratch((form.points, form.block * self.wide + 16))

        with rounds(blocks, worth=self.worth and not within, apart=True) as number:
            image = scratch((form.points * self.plane,))
            shared = (None, None) if within else (patch(), sums())
            # The last block begins so early that it is whole: some tiles are computed twice.
            first = T.bind(T.min(T.Cast("int32", number * form.block), T.int32(form.tiles - form.block)))
            with rounds(form.block, worth=within, apart=True) as at:
                self._transform(first + at, at, image, patch() if within else shared[0])
            with rounds(sum(count for _, _, count in form.panels), worth=within, apart=True) as panel:
                self._one_panel(first, panel, image, sums() if within else shared[1])
        if not self.conv.epilogue.is_light:
            with rounds(self.finisher.pixels // pixels, worth=self.worth) as line:
                self.finisher.finish_kept(line * pixels, pixels)

    @property
    def worth(self) -> bool:
        return is_worth(_cycles(self.form))

    def _one_panel(self, first: Any, panel: Any, image: Any, sums: Any) -> None:
        """Emit a panel of one of the kinds, which differ in their widths."""
        (start, vectors, count), *rest = self.form.panels
        if not rest:
            self._panel(first, panel, start, vectors, image, sums)
            return
        with T.If(panel < count):
            with T.Then():
                self._panel(first, panel, start, vectors, image, sums)
            with T.Else():
                self._panel(first, 0, rest[0][0], rest[0][1], image, sums)

    def _place(self, tile: Any) -> tuple[Any, Any, Any]:
        """Return the image of a tile, and its first row and column."""
        form = self.form
        image = T.bind(vector.quotient(tile, form.down * form.across))
        within = T.bind(tile - image * (form.down * form.across))
        row = T.bind(vector.quotient(within, form.across))
        return image, T.bind(row * form.m), T.bind((within - row * form.across) * form.m)

    def _transform(self, tile: Any, at: Any, into: Any, patch: Any) -> None:
        side = self.form.m + 2
        image, row, column = self._place(tile)
        y, x = T.bind(row - self.conv.padding[0]), T.bind(column - self.conv.padding[1])
        pixel = T.bind((image * self.height + y) * self.width + x)
        whole = tvm.tirx.all(y >= 0, x >= 0, y + side <= self.height, x + side <= self.width)

        def inside(c: Any, lanes: int) -> None:
            self._image(lambda i, j: load(self.x, pixel + (i * self.width + j), c, lanes=lanes), into, at, c, lanes)

        def outside(c: Any, lanes: int) -> None:
            with T.serial(side) as i, T.serial(side) as j:
                store(patch, f32(0.0, lanes), i * side + j, 0, lanes=lanes)
                seen = tvm.tirx.all(y + i >= 0, x + j >= 0, y + i < self.height, x + j < self.width)
                with vector.when(seen):
                    value = load(self.x, pixel + (i * self.width + j), c, lanes=lanes)
                    store(patch, value, i * side + j, 0, lanes=lanes)
            self._image(lambda i, j: load(patch, i * side + j, 0, lanes=lanes), into, at, c, lanes)

        rest = self.conv.channels % self.lanes
        with T.If(whole):
            with T.Then():
                by_vector(self.conv.channels - rest, self.lanes, inside)
            with T.Else():
                by_vector(self.conv.channels - rest, self.lanes, outside)
        for start, narrow in pieces(rest, self.lanes):
            outside(self.conv.channels - rest + start, narrow)

    def _image(self, read: Callable[[int, int], Any], into: Any, at: Any, c: Any, lanes: int) -> None:
        side, times = self.form.m + 2, _by_number(lanes)
        columns = []
        for j in range(side):
            pixels = [T.bind(read(i, j)) for i in range(side)]
            columns.append([T.bind(value) for value in transformed_image(self.form.m, pixels, times)])
        for i in range(side):
            row = transformed_image(self.form.m, [columns[j][i] for j in range(side)], times)
            for j, value in enumerate(row):
                store(into, value, (i * side + j) * self.plane + at * self.conv.channels + c, lanes=lanes)

    def _panel(self, first: Any, panel: Any, start: int, vectors: int, image: Any, sums: Any) -> None:
        form, depth = self.form, self.conv.channels
        wide = vectors * form.lanes
        size = form.points * depth * wide
        weight = vector.view(
            self.buffers["weight"], (form.points, depth, wide), panel * size + form.points * depth * start
        )
        with T.serial(form.points) as point:
            done = 0
            for rows, count in _heights(form.block, form.rows):
                with T.serial(count) as number:
                    self._multiply(image, sums, weight, point, number * rows + done, rows, vectors)
                done += rows * count
        column = start + panel * wide
        with T.serial(form.block) as at:
            place = self._place(T.bind(first + at))
            with T.serial(vectors) as v:
                channel, tail = T.bind(column + v * form.lanes), self.conv.filters % form.lanes
                if not tail:
                    self._results(sums, place, at, v, wide, channel, [(0, form.lanes)])
                    return
                with T.If(channel < self.conv.filters - tail):
                    with T.Then():
                        self._results(sums, place, at, v, wide, channel, [(0, form.lanes)])
                    with T.Else():
                        self._results(sums, place, at, v, wide, channel, list(pieces(tail, form.lanes)))

    def _multiply(self, image: Any, sums: Any, weight: Any, point: Any, first: Any, rows: int, vectors: int) -> None:
        lanes, depth = self.lanes, self.conv.channels
        tile = [registers(vectors, lanes) for _ in range(rows)]
        for register in itertools.chain.from_iterable(tile):
            put(register, f32(0.0, lanes), lanes)
        base = T.bind(point * self.plane + first * depth)

        def step(k: Any, spread: Callable[[int], Any]) -> None:
            columns = [T.bind(load(weight, point, k, v * lanes, lanes=lanes)) for v in range(vectors)]
            for r, row in enumerate(tile):
                x = T.bind(spread(r))
                for register, one in zip(row, columns, strict=True):
                    put(register, get(register, lanes) + x * one, lanes)

        whole = depth // self.steps if self.steps > 1 else 0
        if whole:
            with T.serial(whole) as block:
                k = block * self.steps
                read = [T.bind(load(image, base + (k + r * depth), lanes=self.steps)) for r in range(rows)]
                for at in range(self.steps):
                    step(k + at, lanes_of(read, at, lanes))
        if depth > whole * self.steps:
            with T.serial(depth - whole * self.steps) as rest:
                k = rest + whole * self.steps
                step(k, lambda r: splat(image[base + (k + r * depth)], lanes))
        for r, row in enumerate(tile):
            for v, register in enumerate(row):
                store(sums, get(register, lanes), point, (first + r) * (vectors * lanes) + v * lanes, lanes=lanes)

    def _results(
        self,
        sums: Any,
        place: tuple[Any, Any, Any],
        at: Any,
        v: Any,
        wide: int,
        channel: Any,
        parts: list[tuple[int, int]],
    ) -> None:
        form, lanes, side = self.form, self.lanes, self.form.m + 2
        times = _by_number(lanes)
        columns = []
        for j in range(side):
            read = [T.bind(load(sums, i * side + j, at * wide + v * lanes, lanes=lanes)) for i in range(side)]
            columns.append([T.bind(value) for value in results(form.m, read, times)])
        image, row, column = place
        height, width = self.conv.result
        for i in range(form.m):
            values = [T.bind(value) for value in results(form.m, [columns[j][i] for j in range(side)], times)]
            with vector.when(row + i < height) if height % form.m else _always():
                for j, value in enumerate(values):
                    with vector.when(column + j < width) if width % form.m else _always():
                        pixel = T.bind((image * height + (row + i)) * width + (column + j))
                        for start, narrow in parts:
                            self.finisher.keep(part(value, start, narrow, lanes), pixel, channel + start, narrow)


def _always() -> Any:
    return vector.when(tvm.tirx.const(True))


def _by_number(lanes: int) -> Callable[[float, Any], Any]:
    return lambda number, value: f32(number, lanes) * value


def _heights(tiles: int, most: int) -> list[tuple[int, int]]:
    """Return the heights, and how many of each, of the nearly equal parts of so many tiles."""
    count = -(-tiles // most)
    low, more = divmod(tiles, count)
    return [(height, number) for height, number in ((low + 1, more), (low, count - more)) if number]
