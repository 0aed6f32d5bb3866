"""Describe a convolution's shape, and how its filters are stored in panels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from harness.compiler.kernels.epilogue import Epilogue
from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.vector import F32
from harness.compiler.targets.profiles import Profile


@dataclass(frozen=True)
class Stored:
    """Tell which tensors of a convolution have bytes for elements, all of the type ``kind``; the others are float32.

    ``tensors`` are numbers of the epilogue's. ``from_zero`` is whether the image's byte 0 is the number 0.
    """

    kind: str = F32
    image: bool = False
    tensors: tuple[int, ...] = ()
    result: bool = False
    from_zero: bool = True

    def __bool__(self) -> bool:
        return self.image or self.result or bool(self.tensors)

    @property
    def image_type(self) -> str:
        return self.kind if self.image else F32

    @property
    def result_type(self) -> str:
        return self.kind if self.result else F32

    @property
    def label(self) -> str:
        """Return a name that contains everything on which the statements depend; empty without bytes."""
        image = ("x" if self.from_zero else "z") if self.image else ""
        return "_".join([self.kind, f"{image}{'y' if self.result else ''}", *map(str, self.tensors)]) if self else ""


@dataclass(frozen=True)
class Convolution:
    """Describe a convolution of two dimensions, or of one with a height of 1 that its tensors lack (``of_rows``).

    ``padding`` is that of the top, the left, the bottom and the right. ``planar`` images have channels first. With
    ``spread`` each pixel becomes so many rows and columns of results: a transposed convolution whose filters do not
    overlap. Its kernel is one pixel, with ``filters`` filters for each of the results.
    """

    batch: int
    size: tuple[int, int]
    channels: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    epilogue: Epilogue = field(default_factory=Epilogue)
    planar: bool = False
    of_rows: bool = False
    spread: tuple[int, int] = (1, 1)
    stored: Stored = field(default_factory=Stored)

    @property
    def result(self) -> tuple[int, int]:
        """Return the height and the width of the result."""
        top, left, bottom, right = self.padding
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        padded = (self.size[0] + top + bottom, self.size[1] + left + right)
        height, width = ((p - s) // stride + 1 for p, s, stride in zip(padded, spans, self.strides, strict=True))
        return height, width

    @property
    def copies(self) -> int:
        """Return how many results a pixel becomes."""
        return math.prod(self.spread)

    @property
    def by_channel(self) -> bool:
        """Return whether each channel has one filter of its own."""
        return self.groups == self.channels == self.filters and not self.planar and self.copies == 1

    @property
    def image_shape(self) -> tuple[int, ...]:
        if self.planar:
            return (self.batch, self.channels, *self.size)
        return (self.batch, *self.size[self.of_rows :], self.channels)

    @property
    def result_shape(self) -> tuple[int, ...]:
        extents = [extent * times for extent, times in zip(self.result, self.spread, strict=True)]
        return (self.batch, *extents[self.of_rows :], self.filters)

    @property
    def multiplies(self) -> int:
        """Return the multiply-adds of the direct form, those with the border included."""
        return math.prod(self.result_shape) * math.prod(self.kernel) * (self.channels // self.groups)

    @property
    def label(self) -> str:
        parts = [self.batch, *self.size, self.channels, self.filters, *self.kernel, *self.strides, *self.padding]
        words = [*map(str, parts), *(map(str, self.dilation) if self.dilation != (1, 1) else ())]
        words += [f"g{self.groups}"] if self.groups > 1 else []
        words += ["planar"] if self.planar else []
        words += ["rows"] if self.of_rows else []
        words += ["spread", *map(str, self.spread)] if self.copies > 1 else []
        words += [self.stored.label] if self.stored else []
        return "_".join([*words, *([self.epilogue.label] if self.epilogue.steps else [])])


@dataclass(frozen=True)
class Panels:
    """Describe the layout of the filters in memory: panels of ``vectors`` vectors, the last one of ``rest`` vectors.

    ``sets`` of ``filters`` filters each read ``depth`` neighbouring input channels: a group, or several small ones.
    """

    sets: int
    filters: int
    depth: int
    vectors: int
    whole: int
    rest: int
    lanes: int
    rows: int

    @property
    def columns(self) -> int:
        """Return the columns of a set, with those behind its last filter."""
        return (self.whole * self.vectors + self.rest) * self.lanes


def choose_panels(conv: Convolution, profile: Profile) -> Panels:
    """Choose the tile that has the fewest loads and multiply-adds for the shape."""
    each = conv.filters // conv.groups
    merged = 1
    while each * merged < profile.lanes and conv.groups % (2 * merged) == 0 and conv.groups > 1:
        merged *= 2
    filters, depth = each * merged, conv.channels // conv.groups * merged
    pixels = math.prod(conv.result) if is_flat(conv) else conv.result[1]
    count, most = best_tile(profile, filters, pixels)
    vectors = -(-filters // profile.lanes)
    return Panels(
        conv.groups // merged * conv.copies,
        filters,
        depth,
        count,
        vectors // count,
        vectors % count,
        profile.lanes,
        most,
    )


def best_tile(profile: Profile, filters: int, pixels: int) -> tuple[int, int]:
    """Return the vectors and the most pixels of a register tile that has the fewest loads and multiply-adds."""
    vectors = -(-filters // profile.lanes)
    sums = profile.rows * (profile.columns // profile.lanes)
    best: tuple[float, int, int] | None = None
    for count in range(1, min(vectors, 8) + 1):
        most = sums // count
        if profile.rows_by_lane and count >= profile.columns // profile.lanes:
            most = min(most, profile.rows_by_lane)
        if most < 1:
            continue
        tiles = -(-pixels // most)
        rows = -(-pixels // tiles)
        panels = [count] * (vectors // count) + ([vectors % count] if vectors % count else [])
        # Two multiply-adds and two loads are possible in a cycle, and latencies need about ten sums.
        cost = tiles * sum(max(rows * v, rows + v, 10) + 0.15 * (rows + v) for v in panels)
        if best is None or cost < best[0] * 0.99:
            best = (cost, count, most)
    assert best is not None
    return best[1], best[2]


def is_flat(conv: Convolution) -> bool:
    """Return whether all pixels are one row: each reads only its own."""
    points = conv.kernel == (1, 1) and conv.strides == (1, 1) and conv.padding == (0, 0, 0, 0)
    return points and not conv.planar and conv.copies == 1 and conv.size[1] < 64


def pack_filters(conv: Convolution, weight: Array, profile: Profile) -> Array:
    """Return a weight [KH, KW, channels of a group, filters] in panels; one that is spread has copies x filters."""
    form = choose_panels(conv, profile)
    taps, each, sets = math.prod(conv.kernel), conv.channels // conv.groups, conv.groups * conv.copies
    given = weight.reshape(taps, each, sets, conv.filters // conv.groups)
    merged = sets // form.sets
    spread = np.zeros((form.sets, taps, merged, each, form.columns), weight.dtype)
    for at in range(sets):
        within = at % merged
        first = within * given.shape[3]
        spread[at // merged, :, within, :, first : first + given.shape[3]] = given[:, :, at]
    rows = spread.reshape(form.sets, taps * form.depth, form.columns)
    wide = form.vectors * form.lanes
    parts = []
    for one in rows:
        whole = one[:, : form.whole * wide].reshape(len(one), form.whole, wide).transpose(1, 0, 2)
        parts += [whole.reshape(-1), one[:, form.whole * wide :].reshape(-1)]
    return np.concatenate(parts)
