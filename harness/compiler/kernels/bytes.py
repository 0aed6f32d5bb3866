"""Convert tensors between float32 and bytes on a grid: a step's size, and the byte of the number 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.finishing import HIGH, INVERSE, LOW, RAISE, RAISED, TENSORS, by_vector
from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.grid import Grid
from harness.compiler.kernels.kernel import Buffers, Kernel, Param
from harness.compiler.kernels.parallel import is_worth, rounds
from harness.compiler.kernels.vector import F32, cast, load, splat, store
from harness.compiler.targets.profiles import Profile

CHANNELS = 4
"""The channels of an image of bytes that was planar: those behind its last are 0."""
BLOCK = 4096
"""The elements that are converted in one round."""


def grid_numbers(kind: str, image: Grid | None, result: Grid | None, tensors: tuple[Grid | None, ...] = ()) -> Array:
    """Return ``grids`` as kernels read them; see :mod:`harness.compiler.kernels.finishing`."""
    found = [0.0 if image is None else float(image.moved(kind))]
    if result is None:
        found += [0.0] * (TENSORS - 1)
    else:
        bounds = [float(result.low - result.zero), float(result.high - result.zero)]
        inverse = np.float32(1) / np.float32(result.scale)
        found += [float(inverse), *bounds, RAISE + result.moved(kind)]
    for one in tensors:
        found += [0.0, 0.0] if one is None else [one.scale, -one.scale * one.moved(kind)]
    return np.array(found, np.float32)


def to_bytes_kernel(profile: Profile, shape: tuple[int, ...], kind: str, *, planar: bool = False) -> Kernel:
    """Return the kernel: (x, grids) to y. ``planar`` images [N, C, H, W] become [N, H, W, 4]."""
    result = (shape[0], *shape[2:], CHANNELS) if planar else shape
    params = (
        Param("x", shape),
        Param("grids", (TENSORS,), F32, "weight"),
        Param("y", result, kind, "output"),
    )
    words = "_".join(map(str, shape))
    name = f"to_{kind}_{'planar_' if planar else ''}{words}_{profile.lanes}"
    emit = _planar if planar else _plain
    return Kernel(name, params, lambda b: emit(profile, shape, kind, b), alone=True)


def from_bytes_kernel(profile: Profile, shape: tuple[int, ...], kind: str) -> Kernel:
    """Return the kernel: (x, grids with one tensor) to y."""
    params = (
        Param("x", shape, kind),
        Param("grids", (TENSORS + 2,), F32, "weight"),
        Param("y", shape, role="output"),
    )
    name = f"from_{kind}_{'_'.join(map(str, shape))}_{profile.lanes}"
    return Kernel(name, params, lambda b: _numbers(profile, shape, b), alone=True)


def _steps(value: Any, grids: Any, lanes: int) -> Any:
    """Return int32 numbers whose last byte is the value's."""

    def number(at: int) -> Any:
        return splat(grids[at], lanes)

    steps = T.min(number(HIGH), T.max(number(LOW), value * number(INVERSE)))
    return T.reinterpret(vector.vector_type("int32", lanes), steps + number(RAISED))


def _blocks(total: int, lanes: int, body: Any) -> None:
    """Emit ``body(place, lanes)`` for all elements, in rounds."""
    whole = total // BLOCK
    if whole:
        with rounds(whole, worth=is_worth(total / lanes * 2)) as at:
            by_vector(BLOCK, lanes, lambda k, wide: body(at * BLOCK + k, wide))
    by_vector(total - whole * BLOCK, lanes, lambda k, wide: body(whole * BLOCK + k, wide))


def _plain(profile: Profile, shape: tuple[int, ...], kind: str, buffers: Buffers) -> None:
    total = math.prod(shape)
    x, y = (vector.flat(buffers[name], (total,)) for name in ("x", "y"))

    def body(place: Any, lanes: int) -> None:
        bits = _steps(load(x, place, lanes=lanes), buffers["grids"], lanes)
        store(y, cast(kind, bits, lanes), place, lanes=lanes)

    _blocks(total, profile.lanes, body)


def _planar(profile: Profile, shape: tuple[int, ...], kind: str, buffers: Buffers) -> None:
    batch, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
    x = vector.flat(buffers["x"], (batch, channels, pixels))
    y = vector.flat(buffers["y"], (batch, pixels), "int32")
    for image in range(batch):

        def body(place: Any, lanes: int, image: int = image) -> None:
            word: Any = None
            for channel in range(channels):
                bits = _steps(load(x, image, channel, place, lanes=lanes), buffers["grids"], lanes)
                byte = T.bitwise_and(bits, splat(T.int32(255), lanes))
                moved = T.shift_left(byte, splat(T.int32(8 * channel), lanes)) if channel else byte
                word = moved if word is None else T.bitwise_or(word, moved)
            store(y, word, image, place, lanes=lanes)

        _blocks(pixels, profile.lanes, body)


def _numbers(profile: Profile, shape: tuple[int, ...], buffers: Buffers) -> None:
    total = math.prod(shape)
    x, y = (vector.flat(buffers[name], (total,)) for name in ("x", "y"))

    def body(place: Any, lanes: int) -> None:
        scale, offset = (splat(buffers["grids"][TENSORS + at], lanes) for at in range(2))
        store(y, load(x, place, lanes=lanes) * scale + offset, place, lanes=lanes)

    _blocks(total, profile.lanes, body)
