"""Store a convolution's results behind the steps that follow it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Buffers
from harness.compiler.kernels.panels import Convolution
from harness.compiler.kernels.vector import load, store
from harness.compiler.targets.profiles import Profile


def pieces(width: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Yield the starts and the lanes of the vectors, at most ``lanes`` wide, that cover ``width`` elements."""
    start = 0
    while start < width:
        while lanes > width - start:
            lanes //= 2
        yield start, lanes
        start += lanes


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

    def finish_kept(self, first: Any, count: Any, channel: Any = 0, channels: int | None = None) -> None:
        """Finish the sums of ``count`` pixels from ``first`` on, for so many channels or for all."""
        if self.conv.epilogue.is_light:
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
