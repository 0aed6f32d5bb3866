"""Compute convolutions directly: images have channels last, weights are in panels of output channels.

A register tile holds the sums of some neighbouring pixels of a row for one panel. Nothing is copied: rows outside the
image are left out when the kernel runs, and columns outside it when the tile's code is made. Filters of several groups
that share a vector are multiplied with zeros for the inputs of the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.finishing import Finisher, finishing_params, part, pieces
from harness.compiler.kernels.formats import lanes_of
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.panels import Convolution, Panels, choose_panels, is_flat
from harness.compiler.kernels.parallel import ENOUGH, LEAST_PIXELS, is_worth, rounds
from harness.compiler.kernels.vector import F32, f32, get, load, put, registers, splat
from harness.compiler.targets.profiles import Profile

BAND_BYTES = 1 << 18
"""The bytes of the image's rows that stay in the second cache while all panels are multiplied with them."""
MOST_UNROLLED = 4
"""The most input channels whose multiply-adds are written out one after the other."""


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
    tensors, further = finishing_params(conv)
    params = (
        Param("x", conv.image_shape),
        *tensors,
        Param("weight", (packed,), F32, "weight"),
        *further,
    )
    name = f"conv_{conv.label}_{form.rows}x{form.vectors}x{form.lanes}"
    cost = reading_all(lambda _: 2 * conv.multiplies)
    return Kernel(name, params, lambda b: Direct(profile, conv, form, b).emit(), cost, alone=True)


class Direct:
    """Emit the loops over bands, panels, tiles and taps. A subclass may multiply other elements than float32."""

    element = F32
    """The type of the image's elements, of the filters' and of the sums."""
    parts = 1
    """The rows of a panel that one element of the image is multiplied with."""

    def __init__(self, profile: Profile, conv: Convolution, form: Panels, buffers: Buffers) -> None:
        self.profile, self.conv, self.form, self.buffers = profile, conv, form, buffers
        self.lanes = profile.lanes
        self.size = math.prod(conv.kernel) * form.depth * self.parts
        """The rows of a panel."""
        self.flat = is_flat(conv)
        height, width = conv.size
        self.height, self.width = (height, width)
        self.rows, self.columns = conv.result
        if self.flat:
            # Pixels are one row, or several if threads need them.
            self.rows = self.height = self._cuts(height * width)
            self.columns = self.width = height * width // self.rows
        shape = (conv.batch * height * width, conv.channels)
        self.x = buffers["x"] if conv.planar else vector.flat(buffers["x"], shape, self.element)
        self.finisher = Finisher(conv, profile, buffers)
        self.steps = profile.lanes if profile.rows_by_lane and not conv.planar else 1

    def emit(self) -> None:
        found = runs(self.conv, self.columns, self.form.rows, self.width)
        if self._shares_panels:
            self._by_panel(found)
            return
        bands = -(-self.rows // self._band())
        with rounds(self.conv.batch * bands, worth=self.worth) as number:
            image = T.bind(vector.quotient(number, bands)) if self.conv.batch > 1 else T.int32(0)
            first, rows = self._rows_of_band(number - image * bands if self.conv.batch > 1 else number)
            for at in range(self.form.sets) if self.form.sets == 1 else ():
                self._set(image, first, rows, at, found)
            if self.form.sets > 1:
                with T.serial(self.form.sets) as at:
                    self._set(image, first, rows, at, found)
            row = self.columns * self.conv.copies
            self.finisher.finish_kept((image * self.rows + first) * row, rows * row)

    def _cuts(self, pixels: int) -> int:
        """Return into how many rows the pixels of a flat image are cut."""
        if not self.worth:
            return 1
        rounds_ = self.conv.batch * self.form.sets * self.panels
        possible = [rows for rows in range(1, 2 * ENOUGH + 1) if pixels % rows == 0]
        long = [rows for rows in possible if pixels // rows >= LEAST_PIXELS] or [1]
        if self._stays:
            return long[-1]
        return next((rows for rows in long if rows * rounds_ >= ENOUGH), long[-1])

    @property
    def _stays(self) -> bool:
        """Return whether images are larger than weights. A thread then computes its part of an image in each layer."""
        conv = self.conv
        images = math.prod(conv.image_shape) + math.prod(conv.result_shape)
        return images > self.form.sets * self.size * self.form.columns

    def _by_panel(self, found: list[Run]) -> None:
        """Emit rounds of one panel and one band each: there are too few rows to cut them alone."""
        form, bands, panels = self.form, -(-self.rows // self._band()), self.panels
        with rounds(self.conv.batch * bands * form.sets * panels) as number:
            place = T.bind(vector.quotient(number, form.sets * panels))
            image = T.bind(vector.quotient(place, bands))
            first, rows = self._rows_of_band(place - image * bands)
            within = T.bind(number - place * (form.sets * panels))
            at = T.bind(vector.quotient(within, panels)) if form.sets > 1 else 0
            panel = T.bind(within - at * panels) if form.sets > 1 else within
            if form.whole and form.rest:
                with T.If(panel < form.whole):
                    with T.Then():
                        self._finished_panel(image, first, rows, at, found, form.vectors, panel)
                    with T.Else():
                        self._finished_panel(image, first, rows, at, found, form.rest, form.whole)
            else:
                vectors, panel = (form.vectors, panel) if form.whole else (form.rest, 0)
                self._finished_panel(image, first, rows, at, found, vectors, panel)

    def _finished_panel(
        self, image: Any, first: Any, rows: Any, at: Any, found: list[Run], vectors: int, panel: Any
    ) -> None:
        form, size = self.form, self.size
        column, wide = panel * (form.vectors * form.lanes), vectors * form.lanes
        base = at * (size * form.columns) + size * column
        weight = vector.view(self.buffers["weight"], (size, wide), base)
        self._panel(image, first, rows, at, found, weight, vectors, column)
        pixel, count = (image * self.rows + first) * self.columns, rows * self.columns
        channel, last = at * form.filters + column, form.filters - (self.panels - 1) * form.vectors * form.lanes
        if form.rest or last == wide:
            self.finisher.finish_kept(pixel, count, channel, last if vectors == form.rest else wide)
        elif not self.finisher.at_once:
            with T.If(column + wide <= form.filters):
                with T.Then():
                    self.finisher.finish_kept(pixel, count, channel, wide)
                with T.Else():
                    self.finisher.finish_kept(pixel, count, channel, last)

    def _rows_of_band(self, band: Any) -> tuple[Any, Any]:
        first = T.bind(T.Cast("int32", band * self._band()))
        return first, T.bind(T.min(T.int32(self._band()), T.int32(self.rows) - first))

    @property
    def panels(self) -> int:
        return self.form.whole + (1 if self.form.rest else 0)

    @property
    def worth(self) -> bool:
        return is_worth(self.conv.multiplies / (2 * self.lanes))

    @property
    def _shares_panels(self) -> bool:
        """Return whether threads share panels, too, because there are too few bands for them."""
        if not self.worth or self.conv.copies > 1:
            return False
        return self.conv.batch * -(-self.rows // self._band()) < ENOUGH

    def _band(self) -> int:
        """Return the rows of a band: few enough for the cache, and for threads if that leaves enough pixels."""
        row = self.width * self.conv.channels * 4 * self.conv.strides[0]
        band = max(1, min(self.rows, BAND_BYTES // row))
        if not self.worth:
            return band
        shared = max(-(-LEAST_PIXELS // self.columns), -(-self.rows // (2 * ENOUGH)))
        enough = self.conv.batch * -(-self.rows // shared) >= ENOUGH
        return min(band, shared) if enough or self._stays else band

    def _set(self, image: Any, first: Any, rows: Any, at: Any, found: list[Run]) -> None:
        form, size = self.form, self.size
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
        sums = [registers(vectors, self.lanes, self.element) for _ in range(run.rows)]
        begun = [self._begun(at, column, v) for v in range(vectors)]
        for row in sums:
            for register, value in zip(row, begun, strict=True):
                put(register, value, self.lanes)
        for ky in range(1) if conv.kernel[0] == 1 else ():
            self._row_of_taps(image, oy, start, run, at, weight, sums, ky, column)
        if conv.kernel[0] > 1:
            with T.serial(conv.kernel[0]) as ky:
                self._row_of_taps(image, oy, start, run, at, weight, sums, ky, column)
        down, across = conv.spread
        line = (image * self.rows + oy) * down
        if conv.copies > 1:
            line = line + vector.quotient(at, across)
        pixel = T.bind(line * (self.columns * across) + start * across + (at % across if across > 1 else 0))
        for r, row in enumerate(sums):
            for v, register in enumerate(row):
                self._store(get(register, self.lanes), pixel + r * across, at, column, v)

    counts_borders = False
    """Whether something is added to sums for taps outside the image."""

    def _begun(self, at: Any, column: Any, v: int) -> Any:
        """Return what the sums of a panel's vector begin with."""
        return f32(0.0, self.lanes)

    def _add_row(self, sums: list[list[Any]], at: Any, column: Any, ky: Any) -> None:
        """Add what a row of the kernel outside the image stands for."""

    def _add_border(self, sums: list[list[Any]], at: Any, column: Any, ky: Any, kx: int) -> None:
        """Add what a tap outside the image stands for."""

    def _row_of_taps(
        self,
        image: Any,
        oy: Any,
        start: Any,
        run: Run,
        at: Any,
        weight: Any,
        sums: list[list[Any]],
        ky: Any,
        column: Any,
    ) -> None:
        conv = self.conv
        y = T.bind(T.Cast("int32", oy * conv.strides[0] + ky * conv.dilation[0] - conv.padding[0]))
        inside = conv.padding[0] == 0 and conv.padding[2] == 0
        if inside:
            self._taps(image, y, start, run, at, weight, sums, ky, column)
        else:
            with T.If(tvm.tirx.all(y >= 0, y < self.height)):
                with T.Then():
                    self._taps(image, y, start, run, at, weight, sums, ky, column)
                if self.counts_borders:
                    with T.Else():
                        self._add_row(sums, at, column, ky)

    def _taps(
        self,
        image: Any,
        y: Any,
        start: Any,
        run: Run,
        at: Any,
        weight: Any,
        sums: list[list[Any]],
        ky: Any,
        panel: Any,
    ) -> None:
        conv, depth = self.conv, self.form.depth
        for kx, valid in enumerate(run.valid):
            if self.counts_borders:
                self._add_border([sums[r] for r in range(run.rows) if r not in valid], at, panel, ky, kx)
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
                return load(self.x, pixel + r * conv.strides[1], first + k, lanes=lanes, dtype=self.element)

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
