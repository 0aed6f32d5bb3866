"""Describe the grid of a tensor of bytes. Imports neither PyTorch nor TVM."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Hold which number a byte stands for: ``scale`` times its distance from ``zero``, both counted from 0 to 255.

    Bytes are at least ``low`` and at most ``high``. As int8, all are 128 less.
    """

    scale: float
    zero: int
    low: int = 0
    high: int = 255

    def moved(self, kind: str) -> int:
        """Return the byte of the number 0 in tensors of this type."""
        return self.zero - (128 if kind == "int8" else 0)
