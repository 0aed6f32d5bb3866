"""Compute convolutions directly: images have channels last, weights lie in panels of output channels.

A register tile holds the sums of some neighbouring pixels of a row for one panel. Nothing is copied: rows outside the
image are left out when the kernel runs, and columns outside it when the tile's code is made. Filters of several groups
that share a vector are multiplied with zeros for the inputs of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.formats import lanes_of
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.panels import Convolution, Panels, choose_panels, is_flat
from harness.compiler.kernels.vector import F32, f32, get, load, put, registers, splat, store
from harness.compiler.targets.profiles import Profile

BAND_BYTES = 1 << 18
"""The bytes of the image's rows that stay in the second cache while all panels are multiplied with them."""
MOST_UNROLLED = 4
"""The most input channels whose multiply-adds are written out one after the other."""


def pieces(width: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and the lanes of the vectors, at most ``lanes`` wide, that cover ``width`` elements."""
    start = 0
    while start < width:
        while lanes > width - start:
            lanes //= 2
        yield start, lanes
        start += lanes


@dataclass(frozen=True)
class Run:
    """Hold equal tiles of a row: ``count`` tiles of ``rows`` pixels each, from pixel ``start`` on."""

    start: int
    rows: int
    count: int
    valid: tuple[tuple[int, ...], ...]
    """The pixels of a tile that lie inside the image, for each column of the kernel."""


def runs(conv: Convolution, pixels: int, most: int, width: int) -> list[Run]:
    """Cut a row into nearly equal tiles. Tiles of equal code are one run."""
    count, found = -(-pixels // most), list[Run]()
    edges = [at * pixels // count for at in range(count + 1)]
    sizes = sorted((b - a for a, b in itertools.pairwise(edges)), reverse=True)
    start = 0
    for size in sizes:
        first = [start * conv.strides[1] + kx * conv.dilation[1] - conv.padding[1] for kx in range(conv.kernel[1])]
        valid = tuple(tuple(r for r in range(size) if 0 <= x + r * conv.strides[1] < width) for x in first)
        last = found[-1] if found else None
        if last is not None and (last.rows, last.valid) == (size, valid):
            found[-1] = Run(last.start, size, last.count + 1, valid)
        else:
            found.append(Run(start, size, 1, valid))
        start += size
    return found


def convolution_kernel(profile: Profile, conv: Convolution) -> Kernel:
    """Return the kernel: (x, tensors of the epilogue, packed filters, shift [filters], channels of it) to y."""
    form = choose_panels(conv, profile)
    packed = form.sets * math.prod(conv.kernel) * form.depth * form.columns
    tensors, channels = conv.epilogue.params(conv.filters, conv.result_shape)
    params = (
        Param("x", conv.image_shape),
        *tensors,
        Param("weight", (packed,), F32, "weight"),
        Param("shift", (conv.filters,), F32, "weight"),
        *channels,
        Param("y", conv.result_shape, role="output"),
    )
    name = f"conv_{conv.label}_{form.rows}x{form.vectors}x{form.lanes}"
    cost = reading_all(lambda _: 2 * conv.multiplies)
    return Kernel(name, params, lambda b: _Direct(profile, conv, form, b).emit(), cost, alone=True)


class Finisher:
    """Store results behind the steps of an epilogue. ``pixels`` is how many pixels ``y`` has."""

    def __init__(self, conv: Convolution, profile: Profile, buffers: Buffers) -> None:
        self.conv, self.profile, self.buffers = conv, profile, buffers
        self.pixels = conv.batch * math.prod(conv.result) * conv.copies
        shape = (self.pixels, conv.filters)
        self.y = vector.flat(buffers["y"], shape)
        self.tensors = {
            f"tensor{at}": vector.flat(buffers[f"tensor{at}"], shape) for at in range(conv.epilogue.tensors)
        }

    def finish(self, value: Any, pixel: Any, channel: Any, lanes: int) -> None:
        """Apply all steps to a vector of sums and store it."""
        value = value + load(self.buffers["shift"], channel, lanes=lanes)
        if self.conv.epilogue.steps:
            value = self.conv.epilogue.emit(T.bind(value), lanes, self._reader(pixel, channel, lanes))
        store(self.y, value, pixel, channel, lanes=lanes)

    def keep(self, value: Any, pixel: Any, channel: Any, lanes: int) -> None:
        """Finish a sum at once if the steps are few; otherwise store it for :meth:`finish_kept`."""
        if self.conv.epilogue.is_light:
            self.finish(value, pixel, channel, lanes)
        else:
            store(self.y, value, pixel, channel, lanes=lanes)

    def finish_kept(self, first: Any, count: Any) -> None:
        """Finish the sums of ``count`` pixels from ``first`` on."""
        if self.conv.epilogue.is_light:
            return
        lanes = self.profile.lanes
        with T.serial(count) as at:
            pixel = T.bind(first + at)
            by_vector(
                self.conv.filters,
                lanes,
                lambda c, wide: self.finish(load(self.y, pixel, c, lanes=wide), pixel, c, wide),
            )

    def _reader(self, pixel: Any, channel: Any, lanes: int) -> Callable[[str], Any]:
        def read(name: str) -> Any:
            if name in self.tensors:
                return load(self.tensors[name], pixel, channel, lanes=lanes)
            return load(self.buffers[name], channel, lanes=lanes)

        return read


def by_vector(width: int, lanes: int, body: Callable[[Any, int], None]) -> None:
    """Emit ``body(start, lanes)`` for whole vectors in a loop, and for narrower ones behind them."""
    whole = width // lanes
    if whole:
        with T.serial(whole) as at:
            body(at * lanes, lanes)
    for start, wide in pieces(width - whole * lanes, lanes):
        body(whole * lanes + start, wide)


def part(value: Any, start: int, wide: int, lanes: int) -> Any:
    """Return some neighbouring lanes of a vector of ``lanes``."""
    if wide == lanes:
        return value
    return tvm.tirx.Shuffle([value], list(range(start, start + wide)))


class _Direct:
    def __init__(self, profile: Profile, conv: Convolution, form: Panels, buffers: Buffers) -> None:
        self.profile, self.conv, self.form, self.buffers = profile, conv, form, buffers
        self.lanes = profile.lanes
        self.flat = is_flat(conv)
        height, width = conv.size
        self.height, self.width = (1, height * width) if self.flat else (height, width)
        self.rows, self.columns = (1, math.prod(conv.result)) if self.flat else conv.result
        self.x = (
            buffers["x"] if conv.planar else vector.flat(buffers["x"], (conv.batch * height * width, conv.channels))
        )
        self.finisher = Finisher(conv, profile, buffers)
        self.steps = profile.lanes if profile.rows_by_lane and not conv.planar else 1

    def emit(self) -> None:
        found = runs(self.conv, self.columns, self.form.rows, self.width)
        with T.serial(self.conv.batch) as image, T.serial(-(-self.rows // self._band())) as band:
            first = T.bind(T.Cast("int32", band * self._band()))
            rows = T.bind(T.min(T.int32(self._band()), T.int32(self.rows) - first))
            for at in range(self.form.sets) if self.form.sets == 1 else ():
                self._set(image, first, rows, at, found)
            if self.form.sets > 1:
                with T.serial(self.form.sets) as at:
                    self._set(image, first, rows, at, found)
            row = self.columns * self.conv.copies
            self.finisher.finish_kept((image * self.rows + first) * row, rows * row)

    def _band(self) -> int:
        row = self.width * self.conv.channels * 4 * self.conv.strides[0]
        return max(1, min(self.rows, BAND_BYTES // row))

    def _set(self, image: Any, first: Any, rows: Any, at: Any, found: list[Run]) -> None:
        form, taps = self.form, math.prod(self.conv.kernel)
        size = taps * form.depth
        base = at * (size * form.columns)
        if form.whole:
            wide = form.vectors * form.lanes
            with T.serial(form.whole) as panel:
                weight = vector.view(self.buffers["weight"], (size, wide), base + panel * (size * wide))
                self._panel(image, first, rows, at, found, weight, form.vectors, panel * wide)
        if form.rest:
            start = form.whole * form.vectors * form.lanes
            wide = form.rest * form.lanes
            weight = vector.view(self.buffers["weight"], (size, wide), base + size * start)
            self._panel(image, first, rows, at, found, weight, form.rest, start)

    def _panel(
        self, image: Any, first: Any, rows: Any, at: Any, found: list[Run], weight: Any, vectors: int, column: Any
    ) -> None:
        with T.serial(rows) as row:
            oy = T.bind(first + row)
            for run in found:
                if run.count == 1:
                    self._tile(image, oy, T.int32(run.start), run, at, weight, vectors, column)
                else:
                    with T.serial(run.count) as number:
                        start = T.bind(T.Cast("int32", number * run.rows + run.start))
                        self._tile(image, oy, start, run, at, weight, vectors, column)

    def _tile(self, image: Any, oy: Any, start: Any, run: Run, at: Any, weight: Any, vectors: int, column: Any) -> None:
        conv = self.conv
        sums = [registers(vectors, self.lanes) for _ in range(run.rows)]
        for row in sums:
            for register in row:
                put(register, f32(0.0, self.lanes), self.lanes)
        for ky in range(1) if conv.kernel[0] == 1 else ():
            self._row_of_taps(image, oy, start, run, at, weight, sums, ky)
        if conv.kernel[0] > 1:
            with T.serial(conv.kernel[0]) as ky:
                self._row_of_taps(image, oy, start, run, at, weight, sums, ky)
        down, across = conv.spread
        line = (image * self.rows + oy) * down
        if conv.copies > 1:
            line = line + vector.quotient(at, across)
        pixel = T.bind(line * (self.columns * across) + start * across + (at % across if across > 1 else 0))
        for r, row in enumerate(sums):
            for v, register in enumerate(row):
                self._store(get(register, self.lanes), pixel + r * across, at, column, v)

    def _row_of_taps(
        self, image: Any, oy: Any, start: Any, run: Run, at: Any, weight: Any, sums: list[list[Any]], ky: Any
    ) -> None:
        conv = self.conv
        y = T.bind(T.Cast("int32", oy * conv.strides[0] + ky * conv.dilation[0] - conv.padding[0]))
        inside = conv.padding[0] == 0 and conv.padding[2] == 0
        if inside:
            self._taps(image, y, start, run, at, weight, sums, ky)
        else:
            with vector.when(tvm.tirx.all(y >= 0, y < self.height)):
                self._taps(image, y, start, run, at, weight, sums, ky)

    def _taps(
        self, image: Any, y: Any, start: Any, run: Run, at: Any, weight: Any, sums: list[list[Any]], ky: Any
    ) -> None:
        conv, depth = self.conv, self.form.depth
        for kx, valid in enumerate(run.valid):
            if not valid:
                continue
            column = start * conv.strides[1] + kx * conv.dilation[1] - conv.padding[1]
            tap = T.bind((ky * conv.kernel[1] + kx) * depth)
            rows = [sums[r] for r in valid]
            if conv.planar:
                self._planar(image, y, column, valid, tap, weight, rows)
                continue
            pixel = T.bind((image * self.height + y) * self.width + column)
            first = at * depth if conv.copies == 1 else 0

            def read(r: int, k: Any, lanes: int, pixel: Any = pixel, first: Any = first) -> Any:
                return load(self.x, pixel + r * conv.strides[1], first + k, lanes=lanes)

            self._multiply(depth, valid, rows, tap, weight, read)

    def _multiply(
        self,
        depth: int,
        valid: tuple[int, ...],
        rows: list[list[Any]],
        tap: Any,
        weight: Any,
        read: Callable[[int, Any, int], Any],
    ) -> None:
        blocks = depth // self.steps if self.steps > 1 else 0
        if blocks:
            with T.serial(blocks) as block:
                vectors = [T.bind(read(r, block * self.steps, self.steps)) for r in valid]
                for step in range(self.steps):
                    self._step(rows, weight, tap + block * self.steps + step, lanes_of(vectors, step, self.lanes))
        rest = depth - blocks * self.steps
        if 0 < rest <= MOST_UNROLLED:
            for k in range(blocks * self.steps, depth):
                self._step(rows, weight, tap + k, lambda i, k=k: splat(read(valid[i], k, 1), self.lanes))
        elif rest:
            with T.serial(depth) as k:
                self._step(rows, weight, tap + k, lambda i: splat(read(valid[i], k, 1), self.lanes))

    def _planar(
        self, image: Any, y: Any, column: Any, valid: tuple[int, ...], tap: Any, weight: Any, rows: list[list[Any]]
    ) -> None:
        for channel in range(self.conv.channels):

            def spread(i: int, channel: int = channel) -> Any:
                return splat(self.x[image, channel, y, column + valid[i] * self.conv.strides[1]], self.lanes)

            self._step(rows, weight, tap + channel, spread)

    def _step(self, rows: list[list[Any]], weight: Any, k: Any, spread: Callable[[int], Any]) -> None:
        columns = [T.bind(load(weight, k, v * self.lanes, lanes=self.lanes)) for v in range(len(rows[0]))]
        for i, row in enumerate(rows):
            x = T.bind(spread(i))
            for register, one in zip(row, columns, strict=True):
                put(register, get(register, self.lanes) + x * one, self.lanes)

    def _store(self, value: Any, pixel: Any, at: Any, column: Any, v: int) -> None:
        """Store a vector, or the part of it that belongs to filters."""
        form, lanes = self.form, self.lanes
        channel = (at * form.filters if self.conv.copies == 1 else 0) + column + v * lanes
        if form.filters % lanes == 0:
            self.finisher.keep(value, pixel, channel, lanes)
            return
        tail = form.filters % lanes
        last = form.filters // lanes * lanes
        parts = [(start, wide) for start, wide in pieces(tail, lanes)]

        def narrow() -> None:
            bound = T.bind(value)
            for start, wide in parts:
                self.finisher.keep(part(bound, start, wide, lanes), pixel, channel + start, wide)

        place = column + v * lanes
        if isinstance(place, int):
            if place == last:
                narrow()
            else:
                self.finisher.keep(value, pixel, channel, lanes)
            return
        if v != form.vectors - 1 or form.rest:
            self.finisher.keep(value, pixel, channel, lanes)
            return
        with T.If(place < last):
            with T.Then():
                self.finisher.keep(value, pixel, channel, lanes)
            with T.Else():
                narrow()
