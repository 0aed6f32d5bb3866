"""What the kernel tests share: compiling for this CPU, random arrays, and integer dot products for any CPU."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.kernel import Kernel
from harness.compiler.kernels.product import Product, pack_product, product_kernel
from harness.compiler.kernels.vector import cast, splat, spread
from harness.compiler.lower import compile_kernel, tvm_target
from harness.compiler.targets import resolve_target
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision

Float32 = npt.NDArray[np.float32]
TOLERANCE: dict[Precision, float] = {"fp32": 1e-6, "fp16": 1e-3, "int8": 2e-2, "int4": 0.2}
"""Of a product's largest result: rounding, a half's 11 bits, int8's and int4's error for random weights."""


@functools.cache
def host() -> Any:
    return tvm_target(resolve_target("llvm"))


Build = Callable[[Kernel], Callable[..., object]]


def _for_this_cpu(kernel: Kernel) -> Callable[..., object]:
    function: Callable[..., object] = compile_kernel(kernel, host())["kernel"]
    return function


_build: ContextVar[Build] = ContextVar("build", default=_for_this_cpu)


def build(kernel: Kernel) -> Callable[..., object]:
    """The kernel as a function of tensors: for this CPU, unless :func:`built_by` says otherwise."""
    return _build.get()(kernel)


@contextlib.contextmanager
def built_by(other: Build) -> Iterator[None]:
    """Another machine for the kernels of the tests inside."""
    token = _build.set(other)
    try:
        yield
    finally:
        _build.reset(token)


def tensor(array: npt.NDArray[Any]) -> Any:
    return tvm.runtime.tensor(np.ascontiguousarray(array))


def empty(*shape: int, dtype: str = "float32") -> Any:
    """Memory full of NaN: what a kernel does not write is noticed."""
    return tensor(np.full(shape, np.nan if "float" in dtype else -1, dtype))


def normal(*shape: int, seed: int = 0) -> Float32:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def _byte(word: Any, at: int, lanes: int, *, signed: bool) -> Any:
    """Byte ``at`` of int32 words, as int32."""
    raised = T.shift_left(word, splat(T.int32(24 - 8 * at), lanes))
    value = T.shift_right(raised, splat(T.int32(24), lanes))
    return value if signed else T.bitwise_and(value, splat(T.int32(255), lanes))


def portable_four(signed: bool) -> Any:
    """The four-byte dot product of ``vpdpbusd`` (activations unsigned) and ``sdot`` (signed) in plain arithmetic."""

    def dot(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
        words = T.reinterpret(f"int32x{lanes}", weights)
        for at in range(4):
            a = _byte(spread(x, lanes), at, lanes, signed=signed)
            sums = sums + a * _byte(words, at, lanes, signed=True)
        return sums

    return dot


def portable_pairs(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """``vpmaddwd`` in plain arithmetic: both halves of a word times neighbouring bytes."""
    low = T.shift_right(T.shift_left(splat(x, lanes), splat(T.int32(16), lanes)), splat(T.int32(16), lanes))
    high = T.shift_right(splat(x, lanes), splat(T.int32(16), lanes))
    words = T.reinterpret(f"int16x{lanes}", weights)
    wide = cast("int32", words, lanes)
    return sums + low * _byte(wide, 0, lanes, signed=True) + high * _byte(wide, 1, lanes, signed=True)


def portable_bytes(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
    """``vpmaddubsw`` in plain arithmetic, both halves of a word of activations times two bytes of weights each."""
    word = splat(x, lanes)
    fours = T.reinterpret(f"int32x{lanes}", weights)
    low, high = (
        _byte(word, at, lanes, signed=True) * _byte(fours, at, lanes, signed=False)
        + _byte(word, at + 1, lanes, signed=True) * _byte(fours, at + 1, lanes, signed=False)
        for at in (0, 2)
    )
    both = T.shift_left(high, splat(T.int32(16), lanes)) | T.bitwise_and(low, splat(T.int32(0xFFFF), lanes))
    return sums + T.reinterpret(f"int16x{2 * lanes}", both)


def portable_folded(sums: Any, factor: Any, words: Any, lanes: int) -> Any:
    """``vpmaddwd`` with one factor for all words, in plain arithmetic."""
    both = T.reinterpret(f"int32x{lanes}", words)
    low = T.shift_right(T.shift_left(both, splat(T.int32(16), lanes)), splat(T.int32(16), lanes))
    return sums + (low + T.shift_right(both, splat(T.int32(16), lanes))) * splat(T.int32(factor), lanes)


def rms(x: Float32, gain: Float32, eps: float) -> Float32:
    result: Float32 = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * gain
    return result


def layer(x: Float32, gain: Float32, shift: Float32, eps: float) -> Float32:
    centred = x - x.mean(-1, keepdims=True)
    result: Float32 = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + eps) * gain + shift
    return result


def gelu_tanh(x: Float32) -> Float32:
    result: Float32 = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return result


class ProductCase:
    """A product with random weights: our kernel beside numpy."""

    def __init__(
        self,
        profile: Profile,
        precision: Precision,
        product: Product,
        leading: tuple[Any, ...],
        *,
        wide: bool = False,
        shared: bool = False,
        group: int = 32,
    ) -> None:
        self.product = product
        kernel, form = product_kernel(
            profile, precision, product, leading, wide_activations=wide, shared=shared, group=group
        )
        self.name = kernel.name
        self.one_row = all(extent == 1 for extent in leading)
        self.function = build(kernel)
        depth, width = product.depth, product.width
        self.weight, self.gain, self.shift = normal(depth, width), normal(depth, seed=1), normal(depth, seed=2)
        self.bias = normal(width, seed=3) if product.bias else None
        self.norms = {None: [], "rms": [self.gain], "layer": [self.gain, self.shift]}[product.norm]
        self.form = form
        self.packed = self.pack()

    def pack(self) -> list[Any]:
        return pack_product(self.product, self.weight, self.bias, self.form)

    def ours(self, x: Float32, residual: Float32) -> Float32:
        rows, given = len(x), [residual] if self.product.residual else []
        y = empty(rows, self.product.outputs)
        self.function(*(tensor(a) for a in [x, *given, *self.norms, *self.packed]), y)
        result: Float32 = y.numpy()
        return result

    def expected(self, x: Float32, residual: Float32) -> Float32:
        product = self.product
        normed = x
        if product.norm == "rms":
            normed = rms(x, self.gain, product.eps)
        elif product.norm == "layer":
            normed = layer(x, self.gain, self.shift, product.eps)
        y: Float32 = normed @ self.weight
        y = y + self.bias if self.bias is not None else y
        half = product.outputs
        if product.gated:
            y = gelu_tanh(y[:, :half]) * y[:, half:]
        elif product.activation:
            y = gelu_tanh(y)
        return y + residual if product.residual else y


def check_product(case: ProductCase, rows: int, precision: Precision) -> None:
    x, residual = normal(rows, case.product.depth, seed=rows), normal(rows, case.product.outputs, seed=rows + 1)
    ours, expected = case.ours(x, residual), case.expected(x, residual)
    assert np.abs(ours - expected).max() <= TOLERANCE[precision] * max(1.0, float(np.abs(expected).max()))
