"""Take a layer's weight as the archive holds it, to measure the error that its fewer bits make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.compiler.observe.provenance import BESIDE, STORED
from harness.protocol.schema import Precision

STEPS: dict[Precision, int] = {"int8": 127, "fp16": 2**11, "fp32": 2**24}
"""How many steps the largest weight of an output has at least."""
TRUSTED = 8.0
"""A stored output's error may be so many times that of plain rounding, because rounding makes up for earlier errors.
What is further away was stored wrongly, which must not pass for rounding."""
ROWS_TO_FIND = 16
"""Rows of a weight by which its columns are found among those beside it."""


def rounded(weight: Tensor, precision: Precision) -> Tensor:
    """Return a weight [N, K] rounded plainly; int8 has a scale for each of the N outputs."""
    if precision == "fp16":
        return weight.half().to(weight.dtype)
    if precision == "int8":
        scale = weight.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / STEPS["int8"]
        return (weight / scale).round() * scale
    return weight


@dataclass(frozen=True)
class Stored:
    """Hold a weight [K, N] as it is stored, with the columns of the layers beside it, and in which precision."""

    precision: Precision
    steps: int
    """How many steps the largest activation of a row has; 0 where activations are not rounded."""
    weight: Tensor


@dataclass(frozen=True)
class Rounding:
    """Hold an archive's weights by function and layer. Layers that were kept wide have a precision of their own."""

    precision: Precision
    stored: Mapping[tuple[str, str], Stored] = field(default_factory=dict)
    _found: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, precision: Precision, archive: Path) -> Rounding:
        """Read what is beside an archive, whose folder is given."""
        path = archive / STORED
        found: dict[tuple[str, str], Stored] = {}
        for key, weight in (load_file(path) if path.exists() else {}).items():
            own, steps, function, layers = key.split("/")
            stored = Stored(cast("Precision", own), int(steps), weight)
            found |= {(function, layer): stored for layer in layers.split(BESIDE)}
        return cls(precision, found)

    def linear(self, function: str, layer: str, weight: Tensor) -> Tensor:
        """Return the weight [N, K] of a layer as it is stored; rounded plainly if that is not known."""
        if self.precision == "fp32":
            return weight
        key = function, layer
        if key not in self._found:
            kept = self.stored.get(key)
            self._found[key] = rounded(weight, self.precision) if kept is None else _trusted(weight, kept)
        return self._found[key]

    def inputs(self, function: str, layer: str, x: Tensor) -> Tensor:
        """Return a layer's inputs as its kernel rounds them: row by row, in steps of the row's largest."""
        kept = self.stored.get((function, layer))
        if kept is None or not kept.steps:
            return x
        step = x.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / kept.steps
        return (x / step).round() * step

    def table(self, weight: Tensor) -> Tensor:
        """Return the rows of an embedding, which have halves at the least."""
        return weight if self.precision == "fp32" else rounded(weight, "fp16")


def _trusted(weight: Tensor, stored: Stored) -> Tensor:
    """Return the layer's share of a stored weight as [N, K]; outputs that were stored wrongly are rounded plainly."""
    plain, beside = rounded(weight, stored.precision), stored.weight.to(weight.dtype)
    outputs, depth = weight.shape
    if beside.shape[0] != depth or beside.shape[1] < outputs:
        return plain
    some = beside[:ROWS_TO_FIND].unfold(1, outputs, 1)
    at = int((some - weight.T[:ROWS_TO_FIND, None]).square().sum((0, 2)).argmin())
    kept = beside[:, at : at + outputs].T
    most = TRUSTED * weight.abs().amax(-1) / STEPS[stored.precision] * (depth / 12) ** 0.5
    return torch.where(((kept - weight).norm(dim=-1) <= most)[:, None], kept, plain)
