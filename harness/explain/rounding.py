"""Take a layer's weight as the archive holds it, to measure the error that its fewer bits make."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.compiler.observe.provenance import BESIDE, FILE_NAME, STORED, is_convolution, read_provenance
from harness.protocol.schema import Precision

STEPS: dict[Precision, int] = {"int8": 127, "fp16": 2**11, "fp32": 2**24}
"""How many steps the largest weight of an output has at least."""
TRUSTED = 8.0
"""A stored output's error may be so many times that of plain rounding, because rounding makes up for earlier errors.
What is further away was stored wrongly, which must not pass for rounding."""
BYTE = 255
"""The steps of a tensor of bytes."""
FILTER_STEPS = 64
"""The steps of a filter's largest weight on CPUs whose sums of two products may not saturate; others have 127."""
BYTES = re.compile(r"_u?int8_[xz]")
"""What the name of a kernel contains that reads an image of bytes (``kernels/panels.py``)."""
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
    convolutions: Collection[tuple[str, str]] = ()
    """The functions and nodes of the convolutions whose image has bytes for elements."""
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
        return cls(precision, found, _convolutions(archive))

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

    def image(self, function: str, layer: str, x: Tensor) -> Tensor:
        """Return a convolution's image in steps of a byte, between its own smallest and largest value."""
        if (function, layer) not in self.convolutions:
            return x
        step = ((x.amax().clamp_min(0) - x.amin().clamp_max(0)) / BYTE).clamp_min(torch.finfo(torch.float32).tiny)
        return (x / step).round() * step

    def filters(self, function: str, layer: str, weight: Tensor) -> Tensor:
        """Return a convolution's filters in steps, the largest that a CPU has; those by channel are float32."""
        if (function, layer) not in self.convolutions or weight.shape[1] == 1:
            return weight
        step = weight.abs().amax((1, 2, 3)[: weight.dim() - 1], keepdim=True) / FILTER_STEPS
        step = step.clamp_min(torch.finfo(torch.float32).tiny)
        return (weight / step).round() * step

    def table(self, weight: Tensor) -> Tensor:
        """Return the rows of an embedding, which have halves at the least."""
        return weight if self.precision == "fp32" else rounded(weight, "fp16")


def _convolutions(archive: Path) -> set[tuple[str, str]]:
    """Return the convolutions of an archive's kernels that have bytes."""
    if not (archive / FILE_NAME).exists():
        return set()
    return {
        (function.name, function.operators[number].name)
        for function in read_provenance(archive).functions
        for site in function.leaves()
        if site.kernel.startswith("conv_") and BYTES.search(site.kernel)
        for number in site.operators
        if is_convolution(function.operators[number])
    }


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
