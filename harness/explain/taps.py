"""Read the stream of an archive that is instrumented for tracing: the outputs of its kernels' calls.

A function's kernels are called in the same order each time, so that a tap's place in the stream shows its call,
as with marks (:mod:`harness.profiling.marks`); its number, which is its kernel's, has to be the one that belongs
there. ``harness/compiler/observe/tracing.py`` writes the stream: a head of 64-bit numbers, then the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.compiler.observe.provenance import FunctionProvenance, Provenance
from harness.core.errors import HarnessError
from harness.protocol.tensors import DTYPES

Array = npt.NDArray[Any]

HEAD = struct.Struct("<5q6q")
"""The head of a tap: number, output, bytes, type, axes; then the extents."""


class BadTaps(HarnessError):
    """The taps of a run do not match the archive's kernels."""

    cure = "explain the run again; if it stays, `harness cache clear` compiles the archive afresh"


@dataclass(frozen=True)
class Tap:
    """Hold one call of a kernel, or of a part of a merged one, with its new tensors.

    ``index`` is the number of the function's site in the order of :meth:`FunctionProvenance.leaves`. ``call`` is the
    number of the function's call, from 0.
    """

    function: str
    call: int
    index: int
    outputs: tuple[Array, ...]


def read_taps(provenance: Provenance, stream: bytes) -> list[Tap]:
    """Return the calls in order. Those of the last function may be incomplete if it failed. Raises BadTaps."""
    leaves = {function.name: [leaf.mark for leaf in function.leaves()] for function in provenance.functions}
    first = {numbers[0]: name for name, numbers in leaves.items() if numbers}
    calls = dict.fromkeys(leaves, -1)
    found: list[Tap] = []
    function, at = "", 0
    for number, outputs in _calls(stream):
        if not function or at == len(leaves[function]):
            if number not in first:
                raise BadTaps(f"no function begins with the kernel of number {number}")
            function, at = first[number], 0
            calls[function] += 1
        if leaves[function][at] != number:
            raise BadTaps(f"{function} called number {number} where number {leaves[function][at]} belongs")
        found.append(Tap(function, calls[function], at, outputs))
        at += 1
    return found


def leaf_count(function: FunctionProvenance) -> int:
    """Return how many taps one call of the function writes."""
    return sum(1 for _ in function.leaves())


def _calls(stream: bytes) -> Iterator[tuple[int, tuple[Array, ...]]]:
    current: int | None = None
    outputs: list[Array] = []
    for number, at, array in _entries(stream):
        if at == 0 and current is not None:
            yield current, tuple(outputs)
            outputs = []
        current = number
        if array is not None:
            outputs.append(array)
    if current is not None:
        yield current, tuple(outputs)


def _entries(stream: bytes) -> Iterator[tuple[int, int, Array | None]]:
    at = 0
    while at < len(stream):
        if at + HEAD.size > len(stream):
            raise BadTaps("the stream of taps ends within a head")
        number, output, size, dtype, axes, *extents = HEAD.unpack_from(stream, at)
        at += HEAD.size
        if not 0 <= size <= len(stream) - at or not 0 <= dtype < len(DTYPES) or not 0 <= axes <= len(extents):
            raise BadTaps(f"a tap of {size} bytes, type {dtype} and {axes} axes cannot be")
        if axes == 0 and size == 0:
            yield number, output, None
            continue
        yield number, output, _array(stream[at : at + size], DTYPES[dtype], extents[:axes])
        at += size


def _array(data: bytes, dtype: str, extents: Sequence[int]) -> Array:
    try:
        return np.frombuffer(data, dtype).reshape(extents)
    except ValueError as error:
        raise BadTaps(f"{len(data)} bytes of {dtype} are no tensor of {list(extents)}") from error
