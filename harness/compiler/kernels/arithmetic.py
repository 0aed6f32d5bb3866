"""Compute exp, tanh, erf and sigmoid as polynomials; TVM would call the C library for every element.

They are registered as LLVM's lowering of TIR's operators, after vectorisation, so they get whole vectors. Types other
than float32 keep TVM's own lowering. The relative error is below 3e-7. Infinities give the C library's results, NaN
stays NaN, results below 2.4e-38 are 0.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import tirx

LOWERING = "llvm.FLowerIntrinsic"
PRIORITY = 99

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""Their sum is ln 2; the first has so few bits that its multiples by an exponent are exact."""
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""(e**r - 1 - r) / r**2 on [-ln 2 / 2, ln 2 / 2], highest first (Cephes, expf)."""
_EXP_LEAST, _EXP_MOST = -86.6, 88.72283
"""Beyond these bounds the result is below 2.4e-38, or no float32."""

_TANH_MOST = 7.99881172180175781
"""From here on tanh is 1 in float32."""
_TANH_ABOVE = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_BELOW = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
"""tanh(x) = x * above(x**2) / below(x**2) (Eigen, ptanh_float)."""

_ERF_ABOVE = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_BELOW = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_ERF_MOST = 4.0
"""erf(x) = x * above(x**2) / below(x**2) within it (Eigen, perf_float)."""


def exp(x: Any) -> Any:
    """Return 2**n * e**r, with r at most half of ln 2 away from 0."""

    def scaled(whole: Any, x: Any) -> Any:
        fraction = x - whole * _LN2_HIGH - whole * _LN2_LOW
        # The factor is half of it, twice, because 2**n itself is no float32 for the largest results.
        exponent = tirx.Cast(_like("int32", x), whole) + _constant(126, "int32", x)
        half = tirx.reinterpret(x.ty.dtype, exponent << _constant(23, "int32", x))
        return _let(fraction, lambda r: (_polynomial(_EXP, r) * r * r + r + 1.0) * half * 2.0)

    def bounded(x: Any) -> Any:
        within = tirx.max(_constant(_EXP_LEAST, "float32", x), tirx.min(_constant(_EXP_MOST, "float32", x), x))
        result = _let(tirx.nearbyint(within * _LOG2_E), lambda whole: scaled(whole, x))
        small = tirx.Select(x < _constant(_EXP_LEAST, "float32", x), _constant(0.0, "float32", x), result)
        return tirx.Select(x > _constant(_EXP_MOST, "float32", x), _constant(float("inf"), "float32", x), small)

    return _let(x, bounded)


def tanh(x: Any) -> Any:
    return _let(x, lambda x: _kept_nan(x, _odd_quotient(x, _TANH_MOST, _TANH_ABOVE, _TANH_BELOW)))


def erf(x: Any) -> Any:
    return _let(x, lambda x: _kept_nan(x, _odd_quotient(x, _ERF_MOST, _ERF_ABOVE, _ERF_BELOW)))


def sigmoid(x: Any) -> Any:
    one = _constant(1.0, "float32", x)
    return one / (one + exp(_constant(0.0, "float32", x) - x))


def _odd_quotient(x: Any, most: float, above: Sequence[float], below: Sequence[float]) -> Any:
    """Return x * above(x**2) / below(x**2), with x no further than ``most`` from 0."""
    within = tirx.max(tirx.min(x, _constant(most, "float32", x)), _constant(-most, "float32", x))
    return _let(
        within, lambda x: _let(x * x, lambda square: x * _polynomial(above, square) / _polynomial(below, square))
    )


def _kept_nan(x: Any, result: Any) -> Any:
    # Bounds turn NaN into a number.
    return tirx.Select(x.equal(x), result, x)


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    total = _constant(coefficients[0], "float32", x)
    for coefficient in coefficients[1:]:
        total = total * x + _constant(coefficient, "float32", x)
    return total


def _let(value: Any, body: Callable[[Any], Any]) -> Any:
    """Return the body with the value computed once."""
    variable = tirx.Var("t", value.ty.dtype)
    return tirx.Let(variable, value, body(variable))


def _like(dtype: str, x: Any) -> str:
    """Return the type with as many lanes as ``x`` has."""
    lanes = x.ty.dtype.lanes
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def _constant(value: float, dtype: str, x: Any) -> Any:
    return tirx.const(value, _like(dtype, x))


POLYNOMIALS: dict[str, Callable[[Any], Any]] = {"exp": exp, "tanh": tanh, "erf": erf, "sigmoid": sigmoid}


@functools.cache
def install() -> None:
    """Register the polynomials with TVM, for every function that this process compiles from now on."""
    for name, polynomial in POLYNOMIALS.items():
        op = tvm.ir.Op.get(f"tirx.{name}")
        own = next(
            found for at in (LOWERING, "default.FLowerIntrinsic", "default.FLegalize") if (found := op.get_attr(at))
        )

        def lower(call: Any, polynomial: Callable[[Any], Any] = polynomial, own: Any = own) -> Any:
            return polynomial(call.args[0]) if str(call.ty.dtype).split("x")[0] == "float32" else own(call)

        tvm.ir.register_op_attr(f"tirx.{name}", LOWERING, lower, level=PRIORITY)
