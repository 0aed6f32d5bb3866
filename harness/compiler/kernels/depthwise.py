"""Compute convolutions by channel: each channel has one filter of its own.

A tile holds the sums of some neighbouring pixels of a row for one vector of channels. Each pixel of the image is read
once for a row of the kernel and serves all sums that it belongs to. Nothing is copied to make borders.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.convolution import Run, runs
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.finishing import IMAGE_ZERO, Finisher, by_vector, finishing_params
from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.panels import Convolution
from harness.compiler.kernels.parallel import is_worth, rounds
from harness.compiler.kernels.vector import F32, f32, get, load, put, registers, splat
from harness.compiler.targets.profiles import Profile

REGISTERS = 14
"""The sums, pixels and weights that a tile may hold: what AVX2 has registers for, without two for addresses' values."""

MOST_UNROLLED = 3
"""The most rows of a kernel that are written out one after the other. More would take long to compile."""


def pack_by_channel(conv: Convolution, weight: Array) -> Array:
    """Return a weight [KH, KW, 1, channels] as the kernel reads it."""
    return weight.reshape(-1, conv.channels)


def depthwise_kernel(profile: Profile, conv: Convolution) -> Kernel:
    """Return the kernel: (x, tensors of the epilogue, filters [taps, channels], shift, channels of it) to y."""
    tensors, further = finishing_params(conv)
    params = (
        Param("x", conv.image_shape, conv.stored.image_type),
        *tensors,
        Param("weight", (conv.kernel[0] * conv.kernel[1], conv.channels), F32, "weight"),
        *further,
    )
    cost = reading_all(lambda _: 2 * conv.multiplies)
    name = f"conv_by_channel_{conv.label}_{profile.lanes}"
    return Kernel(name, params, lambda b: _ByChannel(profile, conv, b).emit(), cost, alone=True)


class _ByChannel:
    def __init__(self, profile: Profile, conv: Convolution, buffers: Buffers) -> None:
        self.profile, self.conv, self.buffers = profile, conv, buffers
        (self.height, self.width), (self.rows, self.columns) = conv.size, conv.result
        self.x = vector.flat(buffers["x"], (conv.batch * self.height * self.width, conv.channels))
        self.weight = buffers["weight"]
        self.finisher = Finisher(conv, profile, buffers)

    def emit(self) -> None:
        # A sum for each pixel of the tile, a pixel of the image, and one row of the kernel's weights.
        most = min(8, max(2, (32 if self.profile.lanes != 8 else REGISTERS) - 1 - self.conv.kernel[1]))
        found = runs(self.conv, self.columns, most, self.width)
        worth = is_worth(2 * self.conv.multiplies / self.profile.lanes)
        with rounds(self.conv.batch * self.rows, worth=worth) as number:
            image = T.bind(vector.quotient(number, self.rows)) if self.conv.batch > 1 else T.int32(0)
            oy = T.bind(number - image * self.rows) if self.conv.batch > 1 else number
            for run in found:
                if run.count == 1:
                    self._tile(image, oy, T.int32(run.start), run)
                else:
                    with T.serial(run.count) as number:
                        self._tile(image, oy, T.bind(T.Cast("int32", number * run.rows + run.start)), run)
            self.finisher.finish_kept((image * self.rows + oy) * self.columns, self.columns)

    def _tile(self, image: Any, oy: Any, start: Any, run: Run) -> None:
        by_vector(
            self.conv.channels, self.profile.lanes, lambda c, lanes: self._vector(image, oy, start, run, c, lanes)
        )

    def _vector(self, image: Any, oy: Any, start: Any, run: Run, channel: Any, lanes: int) -> None:
        conv = self.conv
        sums = registers(run.rows, lanes)
        for register in sums:
            put(register, f32(0.0, lanes), lanes)
        if conv.kernel[0] <= MOST_UNROLLED:
            for ky in range(conv.kernel[0]):
                self._row(image, oy, start, run, channel, lanes, sums, ky)
        else:
            with T.serial(conv.kernel[0]) as ky:
                self._row(image, oy, start, run, channel, lanes, sums, ky)
        pixel = T.bind(T.Cast("int32", (image * self.rows + oy) * self.columns + start))
        for r, register in enumerate(sums):
            self.finisher.keep(get(register, lanes), pixel + r, channel, lanes)

    def _row(
        self, image: Any, oy: Any, start: Any, run: Run, channel: Any, lanes: int, sums: list[Any], ky: Any
    ) -> None:
        conv = self.conv
        y = T.bind(T.Cast("int32", oy * conv.strides[0] + ky * conv.dilation[0] - conv.padding[0]))
        if conv.padding[0] or conv.padding[2]:
            with vector.when(tvm.tirx.all(y >= 0, y < self.height)):
                self._taps(image, y, start, run, channel, lanes, sums, ky)
        else:
            self._taps(image, y, start, run, channel, lanes, sums, ky)

    def _taps(
        self, image: Any, y: Any, start: Any, run: Run, channel: Any, lanes: int, sums: list[Any], ky: Any
    ) -> None:
        """Multiply each pixel of a row with all weights of its sums, from left to right."""
        conv = self.conv
        taps = [
            T.bind(load(self.weight, ky * conv.kernel[1] + kx, channel, lanes=lanes)) for kx in range(conv.kernel[1])
        ]
        first = T.bind((image * self.height + y) * self.width + start * conv.strides[1] - conv.padding[1])
        places: dict[int, list[tuple[int, int]]] = {}
        for kx, valid in enumerate(run.valid):
            for r in valid:
                places.setdefault(r * conv.strides[1] + kx * conv.dilation[1], []).append((r, kx))
        for place in sorted(places):
            x = load(self.x, first + place, channel, lanes=lanes)
            if conv.stored.image and not conv.stored.from_zero:
                x = x - splat(self.buffers["grids"][IMAGE_ZERO], lanes)
            x = T.bind(x)
            for r, kx in places[place]:
                put(sums[r], get(sums[r], lanes) + x * taps[kx], lanes)
