"""Import Fourier transforms as products with constant matrices, and windows that overlap, which they are applied to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.importer.arguments import arguments, given
from harness.compiler.importer.complexes import FORMS, Form, Pair
from harness.compiler.importer.indexing import number
from harness.compiler.operators.operator import OpTable

MOST_POINTS = 2048
"""A longer transform would need a matrix of more than 16 MB for each part."""


def _matrices(points: int, into: int, sign: int, kind: str) -> tuple[relax.Constant, relax.Constant]:
    """Return cosines and sines [1, points, into]. With three axes they are not weights, which could be rounded."""
    if points > MOST_POINTS:
        raise ValueError(f"a Fourier transform of {points} points; there is a form for up to {MOST_POINTS}")
    turns = np.outer(np.arange(points), np.arange(into)) % points
    angles = turns * (sign * 2 * math.pi / points)
    return tuple(relax.const(part(angles)[None].astype(kind), kind) for part in (np.cos, np.sin))


def _points(x: Any, axis: int) -> int:
    extent = (extents(x) or ())[axis]
    if not isinstance(extent, int):
        raise ValueError("a Fourier transform of a size that is known only when it runs")
    return extent


class _Axis:
    """Transform along one axis, which is the last one meanwhile."""

    def __init__(self, importer: Any, rank: int, axis: int) -> None:
        self.emit, self.rank, self.axis = importer.block_builder.emit, rank, axis % rank

    def last(self, x: Any) -> Any:
        order = [*(at for at in range(self.rank) if at != self.axis), self.axis]
        x = x if self.axis == self.rank - 1 else self.emit(relax.op.permute_dims(x, order))
        return self.emit(relax.op.expand_dims(x, 0)) if self.rank == 1 else x

    def back(self, x: Any) -> Any:
        x = self.emit(relax.op.squeeze(x, [0])) if self.rank == 1 else x
        order = [*range(self.axis), self.rank - 1, *range(self.axis, self.rank - 1)]
        return x if self.axis == self.rank - 1 else self.emit(relax.op.permute_dims(x, order))

    def product(self, x: Any, matrix: Any) -> Any:
        """Return the product of x [..., N] and a matrix [1, N, M]."""
        shape = list(x.ty.shape.values)
        rows = self.emit(relax.op.reshape(x, [1, -1, shape[-1]]))
        found = self.emit(relax.op.matmul(rows, matrix))
        return self.emit(relax.op.reshape(found, relax.ShapeExpr([*shape[:-1], matrix.ty.shape.values[-1]])))


def _of_real(importer: Any, x: Any, axis: int, into: int) -> Pair:
    along, points = _Axis(importer, len(x.ty.shape.values), axis), _points(x, axis)
    matrices = _matrices(points, into, -1, str(x.ty.dtype))
    rows = along.last(x)
    return Pair(*(along.back(along.product(rows, matrix)) for matrix in matrices))


def _of_complex(importer: Any, value: Pair, axis: int, sign: int) -> Pair:
    along, points = _Axis(importer, len(value.real.ty.shape.values), axis), _points(value.real, axis)
    cos, sin = _matrices(points, points, sign, str(value.real.ty.dtype))
    real, imag = (along.last(part) for part in value)
    op, emit, times = relax.op, along.emit, along.product
    found = Pair(
        emit(op.subtract(times(real, cos), times(imag, sin))), emit(op.add(times(real, sin), times(imag, cos)))
    )
    return Pair(*(along.back(part) for part in found))


def _to_real(importer: Any, value: Pair, axis: int, points: int) -> Any:
    """Transform half of a spectrum back; the other half is its conjugate."""
    along, count = _Axis(importer, len(value.real.ty.shape.values), axis), points // 2 + 1
    if _points(value.real, axis) != count:
        raise ValueError(f"a real Fourier transform of {_points(value.real, axis)} numbers into {points}")
    kind = str(value.real.ty.dtype)
    cos, sin = (matrix.value.numpy()[:, :, :count].swapaxes(1, 2) for matrix in _matrices(points, points, 1, kind))
    twice = np.array([1 if at in (0, points - at) else 2 for at in range(count)], kind)[None, :, None]
    cos, sin = (relax.const(np.ascontiguousarray(twice * part), kind) for part in (cos, sin))
    real, imag = (along.last(part) for part in value)
    found = along.emit(relax.op.subtract(along.product(real, cos), along.product(imag, sin)))
    return along.back(found)


def _scaled(importer: Any, values: tuple[Any, ...], mode: int, points: int) -> tuple[Any, ...]:
    """Apply torch's normalization: 0 none, 1 by the root of the number of points, 2 by the number."""
    if mode == 0:
        return values
    factor = points**-0.5 if mode == 1 else 1 / points
    emit = importer.block_builder.emit
    return tuple(emit(relax.op.multiply(part, relax.const(factor, str(part.ty.dtype)))) for part in values)


def _count(shape: Any, axes: list[int]) -> int:
    return math.prod(int(shape[axis]) for axis in axes)


def real_to_complex(node: fx.Node, importer: Any) -> Pair:
    x, axes, mode, one_sided = importer.retrieve_args(node)[:4]
    *others, last = axes
    points = _points(x, last)
    found = _of_real(importer, x, last, points // 2 + 1 if one_sided else points)
    for axis in others:
        found = _of_complex(importer, found, axis, -1)
    return Pair(*_scaled(importer, found, mode, _count(extents(x), axes)))


def complex_to_complex(node: fx.Node, importer: Any) -> Pair:
    value, axes, mode, forward = importer.retrieve_args(node)[:4]
    found = value
    for axis in axes:
        found = _of_complex(importer, found, axis, -1 if forward else 1)
    return Pair(*_scaled(importer, found, mode, _count(extents(value.real), axes)))


def complex_to_real(node: fx.Node, importer: Any) -> Any:
    value, axes, mode, points = importer.retrieve_args(node)[:4]
    *others, last = axes
    for axis in others:
        value = _of_complex(importer, value, axis, 1)
    [found] = _scaled(
        importer,
        (_to_real(importer, value, last, points),),
        mode,
        _count(extents(value.real), others) * points,
    )
    return found


def strided(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``as_strided`` of a whole tensor, such as the windows of a spectrogram, as a lookup of places."""
    named = arguments(node, importer, "self", "size", "stride", "storage_offset", storage_offset=None)
    source = given(node)[0].meta["val"]
    if not source.is_contiguous() or source.storage_offset() != 0:
        raise ValueError("as_strided of a part of a tensor: write it with unfold, or call contiguous() before")
    builder, places = importer.block_builder, relax.const(int(named["storage_offset"] or 0), "int64")
    rank = len(named["size"])
    for axis, (size, stride) in enumerate(zip(named["size"], named["stride"], strict=True)):
        step = relax.const(stride, "int64") if isinstance(stride, int) else number(builder, stride)
        along = builder.emit(relax.op.multiply(builder.emit(relax.op.arange(0, size, 1, "int64")), step))
        along = builder.emit(relax.op.reshape(along, [1] * axis + [-1] + [1] * (rank - 1 - axis)))
        places = builder.emit(relax.op.add(places, along))
    flat = builder.emit(relax.op.reshape(named["self"], [-1]))
    return builder.emit(relax.op.take(flat, places, axis=0))


TRANSFORMS: dict[str, Form] = {
    "_fft_c2c.default": complex_to_complex,
    "_fft_c2r.default": complex_to_real,
    "_fft_r2c.default": real_to_complex,
}
FORMS.update(TRANSFORMS)
