"""Write functions of numbers that TVM 0.27 lacks, or computes inexactly, with others that it has."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """Return the root of the sum of squares, without an overflow in between."""
    x, y = x.abs(), y.abs()
    most, least = torch.maximum(x, y), torch.minimum(x, y)
    share = torch.where((most == 0) | (most == math.inf), 0.0, least / most)
    return torch.where((x == math.inf) | (y == math.inf), math.inf, most * torch.sqrt(1 + share * share))


def copysign(x: Tensor, sign: Tensor | float) -> Tensor:
    wide = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if not isinstance(sign, Tensor):
        return -wide.abs() if math.copysign(1, sign) < 0 else wide.abs()
    kind = torch.result_type(wide, sign)
    size = wide.to(kind).abs()
    return torch.where(torch.signbit(sign), -size, size)


def signbit(x: Tensor) -> Tensor:
    """Return whether a number is negative, or the zero that is."""
    if x.dtype == torch.bool:
        return torch.zeros_like(x)
    return ((x == 0) & (1 / x < 0)) | (x < 0) if x.is_floating_point() else x < 0


def erfc(x: Tensor) -> Tensor:
    """Return 1 - erf(x) also where erf is near 1 (Numerical Recipes, erfcc: relative error below 1.2e-7)."""
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    size = x.abs()
    t = 1 / (1 + 0.5 * size)
    power = torch.full_like(x, 0.17087277)
    for coefficient in (
        *(-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806),
        *(0.09678418, 0.37409196, 1.00002368, -1.26551223),
    ):
        power = power * t + coefficient
    # Beyond 12 the square would make the whole NaN at infinity.
    above = torch.where(size > 12, 0.0, t * torch.exp(power - size * size))
    above = torch.where(x.isnan(), x, above)
    return torch.where(x < 0, 2 - above, above)


def cosh(x: Tensor) -> Tensor:
    # Half of the exponential overflows later than the whole.
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    size = x.abs() - math.log(2)
    return torch.exp(size) + 0.25 * torch.exp(-size)


def sinh(x: Tensor) -> Tensor:
    """Return the series near 0, where a difference of exponentials would lose digits."""
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    size, square = x.abs() - math.log(2), x * x
    large = torch.exp(size) - 0.25 * torch.exp(-size)
    small = x * (1 + square / 6 * (1 + square / 20 * (1 + square / 42 * (1 + square / 72))))
    return torch.where(x.abs() < 1, small, torch.where(x < 0, -large, large))


def remainder(x: Any, y: Any) -> Any:
    """Return the exact remainder with the sign of ``y``. TVM subtracts a rounded multiple."""
    if not any(isinstance(side, Tensor) and side.is_floating_point() for side in (x, y)):
        return NotImplemented
    rest = torch.fmod(x, y) if isinstance(x, Tensor) else torch.fmod(torch.full_like(y, x), y)
    return torch.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


def divide(x: Tensor, y: Any, *, rounding_mode: str | None = None) -> Any:
    """Round fractions down as torch does: NaN where a remainder is."""
    fraction = any(isinstance(side, Tensor) and side.is_floating_point() for side in (x, y)) or isinstance(y, float)
    return floor_divide(x, y) if rounding_mode == "floor" and fraction else NotImplemented


def floor_divide(x: Tensor, y: Any) -> Any:
    if not any(isinstance(side, Tensor) and side.is_floating_point() for side in (x, y)) and not isinstance(y, float):
        return NotImplemented
    rest = torch.fmod(x, y)
    quotient = (x - rest) / y
    quotient = torch.where((rest != 0) & ((rest < 0) != (y < 0)), quotient - 1, quotient)
    whole = quotient.floor()
    whole = torch.where(quotient - whole > 0.5, whole + 1, whole)
    if isinstance(y, Tensor):
        return torch.where(y == 0, x / y, whole)
    return whole if y else x / y


def heaviside(x: Tensor, values: Tensor) -> Tensor:
    return torch.where(x == 0, values, (x > 0).to(values.dtype))


def fmax(x: Tensor, y: Tensor) -> Tensor:
    """Return the larger one; of a number and NaN the number."""
    return torch.where(x.isnan() | (y > x), y, x)


def fmin(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x.isnan() | (y < x), y, x)


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """Return log(exp(x) + exp(y)), also of two equal infinities."""
    most = torch.maximum(x, y)
    return torch.where((x == y) & (most.abs() == math.inf), most, most + torch.log1p(torch.exp(-(x - y).abs())))


def never(x: Tensor) -> Any:
    """Return False for each number that is whole, which is neither NaN nor infinite."""
    return NotImplemented if x.is_floating_point() else torch.zeros_like(x, dtype=torch.bool)


def empty_strided(size: Any, _stride: Any, *, dtype: torch.dtype | None = None, **_options: Any) -> Tensor:
    return torch.zeros(size, dtype=dtype)
