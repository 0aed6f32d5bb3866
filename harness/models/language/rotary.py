"""Compute the angles of rotary positions, with the scalings that stretch a model's context."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.models.language.description import Rotary


def rotation(head_size: int, rotary: Rotary | None, capacity: int) -> Tensor:
    """Return [capacity, head size]: cosines, then sines, of each position's angles. No columns without rotary ones.

    Pairs that are not turned have the angle 0.
    """
    if rotary is None:
        return torch.zeros(capacity, 0)
    turned = frequencies(rotary, rotary.size or head_size)
    angles = torch.arange(capacity, dtype=torch.float32)[:, None] * turned
    rest = head_size // 2 - turned.shape[0]
    cosines, sines = (
        F.pad(part * rotary.gain, (0, rest), value=at) for part, at in ((angles.cos(), 1.0), (angles.sin(), 0.0))
    )
    return torch.cat((cosines, sines), -1)


def frequencies(rotary: Rotary, size: int) -> Tensor:
    """Return the angle a position of each pair, in float32 as transformers computes it."""
    found = 1.0 / (rotary.theta ** (torch.arange(0, size, 2, dtype=torch.int64).to(torch.float32) / size))
    if rotary.scaling == "linear":
        return found / rotary.factor
    if rotary.scaling == "llama3":
        # Long waves are slowed by the factor, short ones are left, and those between are mixed.
        waves = 2 * math.pi / found
        long, short = rotary.original / rotary.low, rotary.original / rotary.high
        share = (rotary.original / waves - rotary.low) / (rotary.high - rotary.low)
        mixed = (1 - share) * found / rotary.factor + share * found
        found = torch.where(waves > long, found / rotary.factor, torch.where(waves < short, found, mixed))
    if rotary.scaling == "yarn":
        # The pair that turns so often within the context of the training, as a place among all pairs.
        first, last = (_place(rotary, size, turns) for turns in (rotary.high, rotary.low))
        first, last = max(math.floor(first), 0), min(math.ceil(last), size - 1)
        width = last - first or 0.001
        slowed = ((torch.arange(size // 2, dtype=torch.float32) - first) / width).clamp(0, 1)
        found = found / rotary.factor * slowed + found * (1 - slowed)
    return found


def _place(rotary: Rotary, size: int, turns: float) -> float:
    return size * math.log(rotary.original / (turns * 2 * math.pi)) / (2 * math.log(rotary.theta))
