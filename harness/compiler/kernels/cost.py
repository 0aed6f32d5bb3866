"""Count bytes and FLOPs of a kernel's call: numbers if the shapes are known, else expressions of TIR.

They are for the roofline of a profile. Each element that a call reads or writes counts once, whatever caches do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm

from harness.compiler.kernels.vector import BYTES


@dataclass(frozen=True)
class Cost:
    """Hold ``bytes`` and ``flops`` of one call: ints, or int64 expressions. ``flops`` is None if not counted."""

    bytes: Any
    flops: Any = None

    @property
    def is_known(self) -> bool:
        """Return whether it is the same at every call."""
        return isinstance(self.bytes, int) and (self.flops is None or isinstance(self.flops, int))


CostOf = Callable[[Mapping[str, Any]], Cost]
"""A function from the buffers by parameter name to a cost."""


def integer(value: Any) -> Any:
    """Return a constant as an int, anything else in 64 bits."""
    if isinstance(value, int | tvm.tirx.IntImm):
        return int(value)
    return value if str(value.ty.dtype) == "int64" else tvm.tirx.Cast("int64", value)


def elements(buffer: Any) -> Any:
    count: Any = 1
    for extent in buffer.shape:
        count = count * integer(extent)
    return count


def size(buffer: Any) -> Any:
    """Return a buffer's size in bytes."""
    return elements(buffer) * BYTES.get(str(buffer.dtype), 4)


def sizes(buffers: Iterable[Any]) -> Any:
    total: Any = 0
    for buffer in buffers:
        total = total + size(buffer)
    return total


def rows(buffer: Any) -> Any:
    """Return how many rows a tensor has, along its last axis."""
    count: Any = 1
    for extent in list(buffer.shape)[:-1]:
        count = count * integer(extent)
    return count


def reading_all(flops: Callable[[Mapping[str, Any]], Any]) -> CostOf:
    """Return the cost of a call that touches all of its tensors and computes ``flops`` of its buffers."""
    return lambda buffers: Cost(sizes(buffers.values()), flops(buffers))
