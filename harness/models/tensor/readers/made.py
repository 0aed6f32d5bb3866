"""Make names and inputs for models that come without any."""

from __future__ import annotations

import re

import torch
from torch import Tensor

MOST_TOKENS = 128
"""The longest text that a dynamic dimension allows, so that compiling plans no more memory than phones spend."""


def name_of(text: str) -> str:
    """Return a name that a model may have, made of a file's name or an identifier."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")[:64]
    return name if name[:1].isalpha() else f"model_{name}"[:64]


def noise(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Return normal float32 noise, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def pictures(size: tuple[int, int, int]) -> dict[str, Tensor]:
    """Return two normalized pictures of shape (1, channels, height, width): noise, and a slope of colour."""
    channels, height, width = size
    slope = torch.linspace(-2, 2, width).expand(1, channels, height, width)
    return {"noise": noise((1, *size), 1), "slope": slope + noise((1, *size), 2, 0.1)}


def tokens(length: int, vocabulary: int, seed: int) -> Tensor:
    """Return seeded token ids of shape (1, length), int64."""
    return torch.randint(0, vocabulary, (1, length), generator=torch.Generator().manual_seed(seed))
