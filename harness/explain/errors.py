"""Measure how far a tensor is from another, and compute how far it may be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = float(torch.finfo(torch.float32).eps)
FACTOR = 8.0
"""A kernel's error may be so many times the measured error, because it sums in another order and has its own
exponential. The kernels of the embedded model reach 0.2 of this limit."""
ULPS = 8.0
"""The least measured error, in units of the last place of the tensor's largest value. PyTorch's can be 0 by chance."""


@dataclass(frozen=True)
class Distance:
    """Hold the distance of a value from the reference.
    ``largest`` is the largest absolute error, infinite if a value is not finite. ``relative`` is ``largest`` over the
    reference's root mean square. ``snr`` is in decibels. A measure that is not defined is None.
    """

    largest: float
    relative: float | None
    cosine: float | None
    snr: float | None


def distance(value: Tensor, reference: Tensor) -> Distance:
    """Return the distance of float64 tensors of one shape."""
    if value.numel() == 0:
        return Distance(0.0, 0.0, None, None)
    error = value - reference
    same = (value == reference) | (value.isnan() & reference.isnan())
    error = torch.where(same, torch.zeros_like(error), error)
    if not bool(error.isfinite().all()):
        return Distance(float("inf"), None, None, None)
    largest = float(error.abs().max())
    clean = torch.where(reference.isfinite(), reference, torch.zeros_like(reference))
    signal, noise = float(clean.square().sum()), float(error.square().sum())
    if signal == 0:
        return Distance(largest, None, None, None)
    whole = torch.where(value.isfinite(), value, torch.zeros_like(value))
    lengths = float(whole.norm() * clean.norm())
    return Distance(
        largest,
        largest / (signal / value.numel()) ** 0.5,
        float((whole * clean).sum()) / lengths if lengths else None,
        float(10 * torch.log10(torch.tensor(signal / noise, dtype=torch.float64))) if noise else None,
    )


def allowed(reference: Tensor, *others: Tensor) -> float:
    """Return the largest absolute error that is not a divergence.

    ``others`` are the same values in the arithmetics whose error is measured: float32, and the archive's own if it
    holds its weights in fewer bits. Numbers that are not floats have to be equal.
    """
    if not reference.is_floating_point():
        return 0.0
    clean = reference[reference.isfinite()]
    unit = ULPS * EPSILON * (float(clean.abs().max()) if clean.numel() else 0.0)
    for other in others:
        found = distance(other.double(), reference.double()).largest
        unit = max(unit, found if found < float("inf") else 0.0)
    return FACTOR * unit if unit > 0 else FACTOR * EPSILON
