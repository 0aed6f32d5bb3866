"""Name the ways to choose the ranges of int8 tensors. Imports no PyTorch."""

from __future__ import annotations

from typing import Literal, get_args

Observer = Literal["min-max", "percentile", "mse"]
"""How the range that the bytes of a tensor cover is chosen from the values that occur in use: all of them, those
between two percentiles, or the range with the least mean squared error."""
OBSERVERS: tuple[Observer, ...] = get_args(Observer)
