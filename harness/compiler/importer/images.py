"""Define importer entries for pools and changes of an image's size that TVM 0.27's importer gets wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from harness.compiler.graph.graph import extents
from harness.compiler.importer.arguments import arguments
from harness.compiler.importer.unsupported import operator_name
from harness.compiler.operators.operator import OpTable

AXES = (2, 3)
"""Of rows and columns."""


def nearest(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``upsample_nearest2d``: torch rounds places down, TVM's importer to the nearest one."""
    named = arguments(node, importer, "input", "size", "scales", size=None, scales=None)
    x, emit = named["input"], importer.block_builder.emit
    shape, result = extents(x) or (), node.meta["val"].shape
    if all(_divides(shape[axis], result[axis]) for axis in AXES):
        return importer.create_convert_map()[operator_name(node)](node)
    for at, axis in enumerate(AXES):
        factor = None if named["scales"] is None else float(named["scales"][at])
        extent = shape[axis]
        if factor is not None and factor.is_integer():
            x = emit(relax.op.repeat(x, int(factor), axis=axis))
            continue
        into = result[axis]
        if not isinstance(extent, int) or not isinstance(into, int):
            raise ValueError("a new size of an image whose size is known only when it runs, by no whole number")
        places = np.floor(np.arange(into, dtype="float32") * _step(extent, into, factor)).astype("int64")
        x = emit(relax.op.take(x, relax.const(np.minimum(places, extent - 1), "int64"), axis=axis))
    return x


def bilinear(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``upsample_bilinear2d``, for which TVM's importer takes a factor that gives no whole size for another."""
    names = ("input", "size", "align_corners", "scales")
    named = arguments(node, importer, *names, size=None, align_corners=False, scales=None)
    x, emit, kind = named["input"], importer.block_builder.emit, str(named["input"].ty.dtype)
    shape, result = extents(x) or (), node.meta["val"].shape
    if named["size"] is not None or named["align_corners"]:
        return importer.create_convert_map()[operator_name(node)](node)
    if not all(isinstance(extent, int) for extent in (*shape, *result)):
        raise ValueError("a new size of an image whose size is known only when it runs")
    factors = [float(factor) for factor in named["scales"]]
    if all(shape[axis] * factor == result[axis] for axis, factor in zip(AXES, factors, strict=True)):
        return importer.create_convert_map()[operator_name(node)](node)
    rows, columns = (
        _linear(shape[axis], result[axis], factor).astype(kind) for axis, factor in zip(AXES, factors, strict=True)
    )
    x = emit(relax.op.matmul(x, relax.const(columns.T[None, None], kind)))
    return emit(relax.op.matmul(relax.const(rows[None, None], kind), x))


def average_pool(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``avg_pool2d`` with a divisor of its own, which TVM's importer drops."""
    names = ("self", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    usual = {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}
    named = arguments(node, importer, *names, **usual)
    if named["divisor_override"] is None:
        return importer._avg_pool2d(node)
    if named["ceil_mode"]:
        raise ValueError("a pool with ceil_mode and a divisor of its own")
    size = named["kernel_size"]
    size = [size, size] if isinstance(size, int) else size * 2 if len(size) == 1 else size
    mean = importer._avg_pool2d_impl(named["self"], size, named["stride"], named["padding"], False, True)
    factor = size[0] * size[1] / named["divisor_override"]
    return importer.block_builder.emit(relax.op.multiply(mean, relax.const(factor, str(mean.ty.dtype))))


def grid_sample(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    """Convert ``grid_sampler_2d``. TVM has the two coordinates of a place before the places' axes."""
    x, grid, mode, padding, align_corners = importer.retrieve_args(node)[:5]
    emit = importer.block_builder.emit
    return emit(
        relax.op.image.grid_sample(
            x,
            emit(relax.op.permute_dims(grid, [0, 3, 1, 2])),
            method=("bilinear", "nearest", "bicubic")[mode],
            layout="NCHW",
            padding_mode=("zeros", "border", "reflection")[padding],
            align_corners=align_corners,
        )
    )


def _divides(extent: Any, into: Any) -> bool:
    """Return whether an axis becomes longer a whole number of times, which TVM's importer gets right."""
    return isinstance(extent, int) and isinstance(into, int) and into % extent == 0


def _step(extent: int, into: int, factor: float | None) -> Any:
    """Return how far apart the places lie that neighbours are taken from."""
    return np.float32(extent / into if factor is None else 1 / factor)


def _linear(extent: int, into: int, factor: float) -> Any:
    """Return the matrix [into, extent] of an interpolation between neighbours."""
    places = np.maximum((np.arange(into) + 0.5) * _step(extent, into, factor) - 0.5, 0)
    low = np.minimum(np.floor(places).astype(int), extent - 1)
    high, share = np.minimum(low + 1, extent - 1), places - low
    matrix = np.zeros((into, extent))
    np.add.at(matrix, (np.arange(into), low), 1 - share)
    np.add.at(matrix, (np.arange(into), high), share)
    return matrix
