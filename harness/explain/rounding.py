"""Take a layer's weight as the archive holds it, to measure the error that its fewer bits make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.compiler.observe.provenance import BESIDE, STORED
from harness.protocol.schema import Precision

STEPS: dict[Precision, int] = {"int8": 127, "fp16": 2048}
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
class Rounding:
    """Hold an archive's weights by function and layer, each [K, N] with the columns of the layers beside it."""

    precision: Precision
    stored: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)
    _found: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    @classmethod
    def read(cls, precision: Precision, archive: Path) -> Rounding:
        """Read what is beside an archive, whose folder is given."""
        path = archive / STORED
        found: dict[tuple[str, str], Tensor] = {}
        for key, weight in (load_file(path) if path.exists() else {}).items():
            function, _, layers = key.rpartition("/")
            found |= {(function, layer): weight for layer in layers.split(BESIDE)}
        return cls(precision, found)

    def linear(self, function: str, layer: str, weight: Tensor) -> Tensor:
        """Return the weight [N, K] of a layer as it is stored; rounded plainly if that is not known."""
        if self.precision == "fp32":
            return weight
        key = function, layer
        if key not in self._found:
            plain = rounded(weight, self.precision)
            beside = self.stored.get(key)
            self._found[key] = plain if beside is None else self._trusted(weight, beside, plain)
        return self._found[key]

    def table(self, weight: Tensor) -> Tensor:
        """Return the rows of an embedding, which have halves at the least."""
        return weight if self.precision == "fp32" else rounded(weight, "fp16")

    def _trusted(self, weight: Tensor, beside: Tensor, plain: Tensor) -> Tensor:
        outputs, depth = weight.shape
        if beside.shape[0] != depth or beside.shape[1] < outputs:
            return plain
        some = beside[:ROWS_TO_FIND].to(weight.dtype).unfold(1, outputs, 1)
        at = int((some - weight.T[:ROWS_TO_FIND, None]).square().sum((0, 2)).argmin())
        kept = beside[:, at : at + outputs].T.to(weight.dtype)
        step = weight.abs().amax(-1) / STEPS[self.precision]
        most = TRUSTED * step * (depth / 12) ** 0.5
        return torch.where(((kept - weight).norm(dim=-1) <= most)[:, None], kept, plain)
