"""Store a convolution's results behind the steps that follow it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Buffers, Param
from harness.compiler.kernels.panels import Convolution
from harness.compiler.kernels.vector import F32, load, splat, store
from harness.compiler.targets.profiles import Profile


def pieces(width: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and the lanes of the vectors, at most ``lanes`` wide, that cover ``width`` elements."""
    start = 0
    while start < width:
        while lanes > width - start:
            lanes //= 2
        yield start, lanes
        start += lanes


IMAGE_ZERO, INVERSE, LOW, HIGH, RAISED, TENSORS = range(6)
"""The places of the numbers of ``grids``: the image's zero; then one over the result's scale, its bounds around zero,
and its zero raised; then each tensor's scale and offset."""
RAISE = 12_582_912.0
"""1.5 x 2**23. A float32 near it has whole numbers in its last bits, the nearest to what was added to it."""


def finishing_params(conv: Convolution) -> tuple[list[Param], list[Param]]:
    """Return the parameters of the tensors, and those that finish sums: shift, scale, grids, channels, result."""
    stored, (tensors, channels) = conv.stored, conv.epilogue.params(conv.filters, conv.result_shape)
    tensors = [replace(one, dtype=stored.kind) if at in stored.tensors else one for at, one in enumerate(tensors)]
    further = [Param("shift", (conv.filters,), F32, "weight")]
    if stored.image:
        further.append(Param("scale", (conv.filters,), F32, "weight"))
    if stored:
        further.append(Param("grids", (TENSORS + 2 * len(tensors),), F32, "weight"))
    return tensors, [*further, *channels, Param("y", conv.result_shape, stored.result_type, "output")]


class Finisher:
    """Store results behind the steps of an epilogue. ``pixels`` is how many pixels ``y`` has."""

    def __init__(self, conv: Convolution, profile: Profile, buffers: Buffers) -> None:
        self.conv, self.profile, self.buffers = conv, profile, buffers
        self.pixels = conv.batch * math.prod(conv.result) * conv.copies
        shape = (self.pixels, conv.filters)
        self.y = vector.flat(buffers["y"], shape)
        # A byte has no room for a sum.
        self.at_once = conv.epilogue.is_light or bool(conv.stored)
        self.tensors = {
            f"tensor{at}": vector.flat(buffers[f"tensor{at}"], shape) for at in range(conv.epilogue.tensors)
        }

    def finish(self, value: Any, pixel: Any, channel: Any, lanes: int) -> None:
        """Apply all steps to a vector of sums and store it."""
        if self.conv.stored.image:
            if str(value.ty.dtype) != vector.vector_type(F32, lanes):
                value = vector.cast(F32, value, lanes)
            value = value * load(self.buffers["scale"], channel, lanes=lanes)
        value = value + load(self.buffers["shift"], channel, lanes=lanes)
        if self.conv.epilogue.steps:
            value = self.conv.epilogue.emit(T.bind(value), lanes, self._reader(pixel, channel, lanes))
        if self.conv.stored.result:
            value = self._byte(value, lanes)
        store(self.y, value, pixel, channel, lanes=lanes)

    def _byte(self, value: Any, lanes: int) -> Any:
        """Return the nearest bytes of numbers."""

        def number(at: int) -> Any:
            return splat(self.buffers["grids"][at], lanes)

        steps = T.min(number(HIGH), T.max(number(LOW), value * number(INVERSE)))
        bits = T.reinterpret(vector.vector_type("int32", lanes), steps + number(RAISED))
        return vector.cast(self.conv.stored.kind, bits, lanes)

    def keep(self, value: Any, pixel: Any, channel: Any, lanes: int) -> None:
        """Finish a sum at once if the steps are few; otherwise store it for :meth:`finish_kept`."""
        if self.at_once:
            self.finish(value, pixel, channel, lanes)
        else:
            store(self.y, value, pixel, channel, lanes=lanes)

    def finish_kept(self, first: Any, count: Any, channel: Any = 0, channels: int | None = None) -> None:
        """Finish the sums of ``count`` pixels from ``first`` on, for so many channels or for all."""
        if self.at_once:
            return
        lanes = self.profile.lanes
        with T.serial(count) as at:
            pixel = T.bind(first + at)
            by_vector(
                channels or self.conv.filters,
                lanes,
                lambda c, wide: self._finish_again(pixel, channel + c, wide),
            )

    def _finish_again(self, pixel: Any, channel: Any, lanes: int) -> None:
        self.finish(load(self.y, pixel, channel, lanes=lanes), pixel, channel, lanes)

    def _reader(self, pixel: Any, channel: Any, lanes: int) -> Callable[[str], Any]:
        def read(name: str) -> Any:
            if name in self.tensors:
                value = load(self.tensors[name], pixel, channel, lanes=lanes)
                at = int(name.removeprefix("tensor"))
                if at not in self.conv.stored.tensors:
                    return value
                scale, offset = (splat(self.buffers["grids"][TENSORS + 2 * at + i], lanes) for i in range(2))
                return value * scale + offset
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
