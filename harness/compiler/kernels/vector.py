"""Provide vector expressions and statements that the templates share.

A vector of ``lanes`` float32 is TIR's ``float32x<lanes>``; one lane is a plain scalar, so that the same function serves
the tails of loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx.script import builder as T

F32 = "float32"
BYTES = {"float64": 8, "float32": 4, "float16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1}
"""The bytes of an element, by its type."""


def vector_type(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def span(start: Any, lanes: int) -> Any:
    """Return the indices ``start .. start + lanes``."""
    return start if lanes == 1 else T.ramp(start, 1, lanes)


def splat(value: Any, lanes: int) -> Any:
    return value if lanes == 1 else T.broadcast(value, lanes)


def f32(value: float, lanes: int = 1) -> Any:
    return splat(T.float32(value), lanes)


def cast(dtype: str, value: Any, lanes: int) -> Any:
    return T.Cast(vector_type(dtype, lanes), value)


def load(buffer: Any, *index: Any, lanes: int, dtype: str = F32) -> Any:
    """Read neighbours along the last axis, converted to ``dtype`` if the buffer has another type."""
    value = buffer[(*index[:-1], span(index[-1], lanes))]
    return value if str(buffer.dtype) == dtype else cast(dtype, value, lanes)


def store(buffer: Any, value: Any, *index: Any, lanes: int) -> None:
    """Write neighbours along the last axis, converted to the buffer's element type."""
    if str(buffer.dtype) != F32 and vector_type(F32, lanes) == str(value.ty.dtype):
        value = cast(str(buffer.dtype), value, lanes)
    T.buffer_store(buffer, value, [*index[:-1], span(index[-1], lanes)])


def registers(count: int, lanes: int, dtype: str = F32) -> list[Any]:
    """Return accumulators: a buffer for each vector, which LLVM keeps in a register whatever the tile's size."""
    return [T.alloc_buffer((lanes,), dtype) for _ in range(count)]


def get(register: Any, lanes: int) -> Any:
    return register[span(0, lanes)]


def put(register: Any, value: Any, lanes: int) -> None:
    T.buffer_store(register, value, [span(0, lanes)])


def covering(total: int, lanes: int) -> tuple[list[int], int]:
    """Return the starts of equal vectors that cover ``total`` elements, and their lanes. The last two may overlap."""
    while lanes > total:
        lanes //= 2
    return [min(start, total - lanes) for start in range(0, total, lanes)], lanes


def chunks(total: int, lanes: int, body: Callable[[Any, int], None]) -> None:
    """Emit ``body(start, lanes)`` for whole vectors, then ``body(start, 1)`` for each element of the rest."""
    whole = total // lanes
    if whole:
        with T.serial(whole) as chunk:
            body(chunk * lanes, lanes)
    if total % lanes:
        with T.serial(total % lanes) as rest:
            body(whole * lanes + rest, 1)


def reduce_sum(register: Any, lanes: int) -> Any:
    """Return the sum over a register's lanes, added in halves."""
    return _reduce(register, lanes, lambda a, b: a + b)


def reduce_max(register: Any, lanes: int) -> Any:
    return _reduce(register, lanes, T.max)


def highest(a: Any, b: Any) -> Any:
    """Return the larger one, or NaN if one of them is NaN."""
    return T.Select(tirx.isnan(b), b, T.max(b, a))


def lowest(a: Any, b: Any) -> Any:
    """Return the smaller one, or NaN if one of them is NaN."""
    return T.Select(tirx.isnan(b), b, T.min(b, a))


def reduce_highest(register: Any, lanes: int) -> Any:
    return _reduce(register, lanes, highest)


def _reduce(register: Any, lanes: int, combine: Callable[[Any, Any], Any]) -> Any:
    while lanes > 2:
        lanes //= 2
        T.buffer_store(register, combine(register[span(0, lanes)], register[span(lanes, lanes)]), [span(0, lanes)])
    return T.bind(combine(register[0], register[1]) if lanes == 2 else register[0])


def fold_row(
    width: int, lanes: int, start: Any, combine: Callable[[Any, Any, int], Any], reduce: Callable[[Any, int], Any]
) -> tuple[Any, Any]:
    """Fold a row's whole vectors and its rest; return the two results.

    ``combine(total, k, count)`` takes ``count`` elements from ``k`` on into the total, which begins as ``start``.
    """
    (wide,), (single,) = registers(1, lanes), registers(1, 1)
    put(wide, splat(start, lanes), lanes)
    put(single, start, 1)

    def body(k: Any, count: int) -> None:
        register = wide if count > 1 else single
        put(register, combine(get(register, count), k, count), count)

    chunks(width, lanes, body)
    return reduce(wide, lanes), single[0]


def transposed(rows: list[Any]) -> list[Any]:
    """Transpose a square of vectors: interleave the halves of the rows as often as they can be halved."""
    count = len(rows)
    low = [i // 2 + count * (i % 2) for i in range(count)]
    high = [at + count // 2 for at in low]
    for _ in range(count.bit_length() - 1):
        pairs = list(zip(rows[: count // 2], rows[count // 2 :], strict=True))
        rows = [T.bind(tvm.tirx.Shuffle(list(pair), half)) for pair in pairs for half in (low, high)]
    return rows


def lane(value: Any, at: int, lanes: int) -> Any:
    """Return a vector whose lanes are all the lane ``at`` of another vector."""
    return tvm.tirx.Shuffle([value], [at] * lanes)


def spread(value: Any, lanes: int) -> Any:
    """Return a value in all lanes: one value, or a vector that has it in all lanes already."""
    return value if "x" in str(value.ty.dtype) else splat(value, lanes)


def flat(buffer: Any, shape: tuple[Any, ...], dtype: str | None = None) -> Any:
    """Return the same memory under another shape (or element type), from its start."""
    return view(buffer, shape, 0, dtype)


def view(buffer: Any, shape: tuple[Any, ...], start: Any, dtype: str | None = None) -> Any:
    """Return the memory ``start`` elements of ``dtype`` into a buffer under another shape."""
    # The address stays an expression of the buffer. If it were bound to a variable, TVM would not see that the view
    # reads the buffer, and would reuse its memory too early.
    dtype = dtype or str(buffer.dtype)
    base = buffer.elem_offset
    if base is not None and not (isinstance(base, tvm.tirx.IntImm) and base.value == 0):
        start = start + quotient(base * BYTES[str(buffer.dtype)], BYTES[dtype])
    return T.decl_buffer(shape, dtype, data=buffer.data, elem_offset=start)


def rows_of(buffer: Any) -> Any:
    """Return how many rows a tensor has, along its last axis: an int, or an expression for dynamic extents."""
    total: Any = 1
    for extent in list(buffer.shape)[:-1]:
        value = getattr(extent, "value", extent)
        total = value if isinstance(total, int) and total == 1 else total * value
    return total


def quotient(a: Any, b: Any) -> Any:
    """Return a / b for numbers that are not negative, as one division (TIR's // lowers to three operations)."""
    return a // b if isinstance(a, int) and isinstance(b, int) else T.truncdiv(a, b)


@contextmanager
def when(condition: Any) -> Iterator[None]:
    with T.If(condition), T.Then():
        yield


EXP_COEFFICIENTS = (
    1.339887440266574e-3,
    9.618437357674640e-3,
    5.550332471162809e-2,
    2.402264791363012e-1,
    6.931472028550421e-1,
    1.0,
)
"""2**f on [-0.5, 0.5] by a polynomial of degree six, highest after the leading one; relative error 2e-7."""
EXP_LEADING = 1.535336188319500e-4
EXP_BOUND = 60.0
"""Arguments are bounded here, not at 87. Quotients by exp(87) would be denormal, and every later multiply-add with one
costs a microcode assist."""


def exp(x: Any, lanes: int) -> Any:
    """Return e**x without a library call: 2**r by exponent bits, 2**f by the polynomial. NaN stays NaN."""
    bounded = T.max(f32(-EXP_BOUND, lanes), T.min(f32(EXP_BOUND, lanes), x))
    y = T.bind(bounded * f32(1.4426950408889634, lanes))
    whole = T.bind(T.nearbyint(y))
    fraction = T.bind(y - whole)
    power = f32(EXP_LEADING, lanes)
    for coefficient in EXP_COEFFICIENTS:
        power = power * fraction + f32(coefficient, lanes)
    exponent = T.shift_left(cast("int32", whole, lanes) + splat(T.int32(127), lanes), splat(T.int32(23), lanes))
    return power * T.reinterpret(vector_type(F32, lanes), exponent)


def sigmoid_like(x: Any, argument: Any, lanes: int) -> Any:
    """Return x / (1 + e**argument)."""
    return x / (f32(1.0, lanes) + exp(argument, lanes))


def gelu_tanh(x: Any, lanes: int) -> Any:
    """Return GELU's tanh form (Hendrycks and Gimpel 2016), as x * sigmoid(2 * inner)."""
    x = T.bind(x)
    inner = f32(-1.5957691216057308, lanes) * (x + f32(0.044715, lanes) * x * x * x)
    return sigmoid_like(x, inner, lanes)


def silu(x: Any, lanes: int) -> Any:
    x = T.bind(x)
    return sigmoid_like(x, f32(-1.0, lanes) * x, lanes)


def relu(x: Any, lanes: int) -> Any:
    # The other way round, NaN would become 0.
    return T.max(f32(0.0, lanes), x)


ERF_COEFFICIENTS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


def gelu(x: Any, lanes: int) -> Any:
    """Return GELU by its definition, with erf after Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7)."""
    x = T.bind(x)
    z = T.bind(T.fabs(x) * f32(0.7071067811865476, lanes))
    t = T.bind(f32(1.0, lanes) / (f32(1.0, lanes) + f32(0.3275911, lanes) * z))
    series = f32(0.0, lanes)
    for coefficient in ERF_COEFFICIENTS:
        series = (series + f32(coefficient, lanes)) * t
    tail = T.bind(f32(0.5, lanes) * series * exp(f32(-1.0, lanes) * z * z, lanes))
    upper = x * (f32(1.0, lanes) - tail)
    return T.Select(x > f32(0.0, lanes), upper, x * tail)


ACTIVATIONS: dict[str, Callable[[Any, int], Any]] = {
    "gelu_tanh": gelu_tanh,
    "gelu": gelu,
    "silu": silu,
    "relu": relu,
}
