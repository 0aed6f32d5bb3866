"""Compute convolutions of images with a byte for each element: integer dot products of four channels.

The loops are those of :mod:`harness.compiler.kernels.convolution`, over words of four channels. Pixels outside the
image stand for its zero: where that is not the byte 0, sums get what the taps outside would have added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.tirx.script import builder as T

from harness.compiler.kernels.convolution import Direct
from harness.compiler.kernels.cost import reading_all
from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.finishing import finishing_params
from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.kernel import Kernel, Param
from harness.compiler.kernels.panels import Convolution, choose_panels, pack_filters
from harness.compiler.kernels.vector import get, load, put
from harness.compiler.targets.profiles import Profile

WORD = 4
"""The channels that one lane of a dot product adds up."""
MOST = 127
"""The largest magnitude of a weight."""
MOST_OF_TWO = 128
"""The largest sum of the magnitudes of two neighbouring weights: 255 times it fits into int16."""
DOTS = {"pairs": "bytes-four", "vnni": "vnni", "sdot": "sdot", "smmla": "sdot"}
"""The dot product of an image's bytes, by that of products of many rows. CPUs without any have none."""

Steps = npt.NDArray[np.int8]


def byte_kind(profile: Profile) -> str | None:
    """Return the type of an image's bytes for an instruction set; None if it has no dot product of bytes."""
    dot = DOTS.get(profile.integer_rows)
    return None if dot is None else "int8" if dot == "sdot" else "uint8"


def takes_bytes(conv: Convolution) -> bool:
    """Return whether there is a kernel for an image of bytes."""
    return not conv.planar and conv.copies == 1 and (conv.by_channel or conv.channels // conv.groups % WORD == 0)


def rounded_filters(weight: Array, profile: Profile) -> tuple[Steps, npt.NDArray[np.float32]]:
    """Return a weight [KH, KW, channels of a group, filters] in steps, and a step's size for each filter.

    Where sums of two products could saturate, steps are so large that none does.
    """
    largest = np.abs(weight).max(axis=(0, 1, 2)) / MOST
    saturating = DOTS[profile.integer_rows] == "bytes-four"
    if saturating:
        largest = np.maximum(largest, _two(np.abs(weight)).max(axis=(0, 1, 2)) / MOST_OF_TWO)
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    steps = np.clip(np.rint(weight / scale), -MOST, MOST)
    if saturating:
        # Both of two may have been rounded up.
        over = np.repeat(_two(np.abs(steps)) > MOST_OF_TWO, 2, axis=2)
        first = np.arange(weight.shape[2])[:, None] % 2 == 0
        steps -= np.where(over & first, np.sign(steps), 0)
    return steps.astype(np.int8), scale


def given_steps(weight: Array, scales: Sequence[float]) -> tuple[Steps, npt.NDArray[np.float32]] | None:
    """Return a weight in the steps that it was made with; None if it is none of them, or none are given."""
    if len(scales) != weight.shape[-1]:
        return None
    scale = np.array(scales, np.float32)
    steps = np.rint(weight / scale)
    if np.abs(steps).max() > MOST + 1 or not np.allclose(steps * scale, weight, rtol=1e-4, atol=1e-4 * scale.min()):
        return None
    return steps.astype(np.int8), scale


def _two(magnitudes: Array) -> Array:
    """Return the sums of the magnitudes of neighbouring channels."""
    return magnitudes[:, :, 0::2] + magnitudes[:, :, 1::2]


def _parts(steps: Steps, profile: Profile) -> int:
    """Return into how many parts weights are cut so that no sum of two products saturates."""
    if DOTS[profile.integer_rows] != "bytes-four":
        return 1
    return 1 if _two(np.abs(steps.astype(np.int16))).max(initial=0) <= MOST_OF_TWO else 2


def _words(conv: Convolution) -> Convolution:
    return replace(conv, channels=conv.channels // WORD)


def pack_steps(conv: Convolution, steps: Steps, zero: int, profile: Profile) -> list[Array]:
    """Return the kernel's arrays: filters in panels, what sums begin with, what taps outside the image add.

    ``zero`` is the byte of the number 0 in the image.
    """
    words, parts = _words(conv), _parts(steps, profile)
    halves = steps // 2
    cut = np.stack([steps] if parts == 1 else [halves, steps - halves])
    kh, kw, each, filters = steps.shape
    ordered = cut.reshape(parts, kh, kw, each // WORD, WORD, filters).transpose(1, 2, 3, 0, 5, 4)
    packed = np.ascontiguousarray(ordered).view(np.int32).reshape(kh, kw, each // WORD * parts, filters)
    form = choose_panels(words, profile)
    sums = steps.astype(np.int32).sum(axis=2) * zero
    taps = sums.reshape(kh * kw, filters)
    borders = np.concatenate([taps, sums.sum(axis=1)])
    rows = np.concatenate([-taps.sum(axis=0, keepdims=True), borders])
    padded = np.zeros((len(rows), form.sets, form.columns), np.int32)
    padded[:, :, : form.filters] = rows.reshape(len(rows), form.sets, form.filters)
    padded = padded.reshape(len(rows), -1)
    filters_ = pack_filters(replace(words, channels=words.channels * parts), packed, profile)
    return [filters_, padded[0], *([padded[1:]] if _counts_borders(conv) else [])]


def _counts_borders(conv: Convolution) -> bool:
    return not conv.stored.from_zero and any(conv.padding)


def byte_kernel(profile: Profile, conv: Convolution, steps: Steps) -> Kernel:
    """Return the kernel: (x, tensors, filters, starts, borders if any, what finishes sums) to y."""
    words, parts = _words(conv), _parts(steps, profile)
    form = choose_panels(words, profile)
    taps, columns = math.prod(conv.kernel), form.sets * form.columns
    tensors, further = finishing_params(conv)
    borders = (taps + conv.kernel[0], columns)
    params = (
        Param("x", conv.image_shape, conv.stored.kind),
        *tensors,
        Param("weight", (parts * taps * form.depth * columns,), "int32", "weight"),
        Param("start", (columns,), "int32", "weight"),
        *([Param("borders", borders, "int32", "weight")] if _counts_borders(conv) else []),
        *further,
    )
    name = f"conv_bytes_{conv.label}_{form.rows}x{form.vectors}x{form.lanes}" + (f"_{parts}" if parts > 1 else "")
    cost = reading_all(lambda _: 2 * conv.multiplies)

    def emit(buffers: Any) -> None:
        _Bytes.of(profile, words, form, buffers, parts).emit()

    return Kernel(name, params, emit, cost, alone=True)


class _Bytes(Direct):
    """Multiply words of four bytes."""

    element = "int32"

    @classmethod
    def of(cls, profile: Profile, words: Convolution, form: Any, buffers: Any, parts: int) -> _Bytes:
        kind: type[_Bytes] = cls if parts == 1 else _TwoParts
        return kind(profile, words, form, buffers)

    @property
    def counts_borders(self) -> bool:  # type: ignore[override]
        return _counts_borders(self.conv)

    def _begun(self, at: Any, column: Any, v: int) -> Any:
        place = at * self.form.columns + column + v * self.lanes
        return T.bind(load(self.buffers["start"], place, lanes=self.lanes, dtype="int32"))

    def _add_row(self, sums: list[list[Any]], at: Any, column: Any, ky: Any) -> None:
        self._add(sums, at, column, math.prod(self.conv.kernel) + ky)

    def _add_border(self, sums: list[list[Any]], at: Any, column: Any, ky: Any, kx: int) -> None:
        if sums:
            self._add(sums, at, column, ky * self.conv.kernel[1] + kx)

    def _add(self, sums: list[list[Any]], at: Any, column: Any, row: Any) -> None:
        for v in range(len(sums[0])):
            place = at * self.form.columns + column + v * self.lanes
            more = T.bind(load(self.buffers["borders"], row, place, lanes=self.lanes, dtype="int32"))
            for one in sums:
                put(one[v], get(one[v], self.lanes) + more, self.lanes)

    def _step(self, rows: list[list[Any]], weight: Any, k: Any, spread: Any) -> None:
        dot, lanes = INSTRUCTIONS[DOTS[self.profile.integer_rows]], self.lanes
        columns = [
            T.bind(
                T.reinterpret(
                    f"int8x{WORD * lanes}",
                    load(weight, k * self.parts + part, v * lanes, lanes=lanes, dtype="int32"),
                )
            )
            for part in range(self.parts)
            for v in range(len(rows[0]))
        ]
        for i, row in enumerate(rows):
            x = T.bind(spread(i))
            for at, one in enumerate(columns):
                register = row[at % len(row)]
                put(register, dot(get(register, lanes), x, one, lanes), lanes)


class _TwoParts(_Bytes):
    parts = 2
