"""Taps: a kernel, or a part of a merged one, gives away its output when it ends.

It calls a C function that lies in the archive (:mod:`harness.compiler.tap_source`) with its number, the output's
address, type and extents. For LLVM such a call may read the memory, so that the values have to be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tvm

from harness.compiler.kernels.cost import Cost, elements, integer, size
from harness.compiler.kernels.instrument import Sayings

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""A type's number is its place here."""
MOST_AXES = 6
"""Of a tensor that is given away; one with more is given flat."""


class Taps(Sayings):
    """For whoever looks for the first operation that departs from PyTorch."""

    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        yield from ()

    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        number = self.of(name)
        for at, buffer in enumerate(outputs):
            dtype, extents = str(buffer.dtype), [integer(extent) for extent in buffer.shape]
            if len(extents) > MOST_AXES:
                extents = [elements(buffer)]
            padded = [*extents, *[0] * (MOST_AXES - len(extents))]
            address = tvm.tirx.address_of(buffer)
            yield self._call("tap", number, at, address, size(buffer), DTYPES.index(dtype), len(extents), *padded)
        if not outputs:
            null = tvm.tirx.reinterpret("handle", tvm.tirx.IntImm("uint64", 0))
            yield self._call("tap", number, 0, null, 0, 0, 0, *[0] * MOST_AXES)

    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield from self.end(name, outputs)

    def end_merged(self, name: str) -> Iterator[Any]:
        yield from ()
