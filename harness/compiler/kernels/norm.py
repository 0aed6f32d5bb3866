"""Compute row norms: as a kernel of their own, and as the first part of a product."""

from __future__ import annotations

from typing import Any, Literal

from tvm.tirx.script import builder as T

from harness.compiler.kernels import parallel, vector
from harness.compiler.kernels.kernel import Buffers, Dim, Kernel, Param
from harness.compiler.kernels.parallel import estimated, is_worth
from harness.compiler.kernels.vector import F32, chunks, f32, load, span, splat, store
from harness.compiler.targets.profiles import Profile

Norm = Literal["rms", "layer"]
CYCLES = 8
"""The cycles for a vector of a row, about."""


def norm_params(norm: Norm, width: int) -> list[Param]:
    gain = Param("gain", (width,), F32, "weight")
    return [gain] if norm == "rms" else [gain, Param("shift", (width,), F32, "weight")]


def normalise(norm: Norm, x: Any, row: Any, width: int, eps: float, buffers: Buffers, y: Any, lanes: int) -> None:
    """Normalise one row of ``x`` [rows, K] into ``y``: RMS norm (Zhang and Sennrich 2019) or layer norm."""
    mean = None
    if norm == "layer":
        mean = T.bind(_total(x, row, width, lanes, lambda value: value) * T.float32(1.0 / width))

    def centred(k: Any, count: int) -> Any:
        value = x[row, span(k, count)]
        return value if mean is None else value - splat(mean, count)

    total = _total(x, row, width, lanes, lambda value: value * value, centred)
    inverse = T.bind(T.float32(1.0) / T.sqrt(total * T.float32(1.0 / width) + T.float32(eps)))

    def body(k: Any, count: int) -> None:
        scaled = centred(k, count) * splat(inverse, count) * load(buffers["gain"], k, lanes=count)
        store(y, scaled if mean is None else scaled + load(buffers["shift"], k, lanes=count), row, k, lanes=count)

    chunks(width, lanes, body)


def _total(x: Any, row: Any, width: int, lanes: int, term: Any, read: Any = None) -> Any:
    def combine(total: Any, k: Any, count: int) -> Any:
        value = T.bind(x[row, span(k, count)] if read is None else read(k, count))
        return total + term(value)

    vectors, rest = vector.fold_row(width, lanes, f32(0.0), combine, vector.reduce_sum)
    return T.bind(vectors + rest)


def norm_kernel(profile: Profile, norm: Norm, leading: tuple[Dim, ...], width: int, eps: float) -> Kernel:
    """Return the kernel: (x [..., K], gain [K], for layer norm shift [K]) to y [..., K]."""

    def emit(buffers: Buffers) -> None:
        rows = vector.rows_of(buffers["x"])
        x, y = (vector.flat(buffers[name], (rows, width)) for name in ("x", "y"))
        worth = is_worth(estimated(*leading, width) / profile.lanes * CYCLES)
        with parallel.rounds(rows, worth=worth) as row:
            normalise(norm, x, row, width, eps, buffers, y, profile.lanes)

    shape = (*leading, width)
    params = (Param("x", shape), *norm_params(norm, width), Param("y", shape, role="output"))
    return Kernel(f"{norm}_norm_{shape_name(leading)}_{width}_{eps:g}", params, emit)


def shape_name(leading: tuple[Dim, ...]) -> str:
    return "x".join(str(extent) for extent in leading) or "1"
