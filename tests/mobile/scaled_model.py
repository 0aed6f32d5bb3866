"""A model whose answers a test can compute by hand: two inputs that share a dynamic extent, two outputs."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import Dim

from harness.models import ModelSpec


class Scaled(nn.Module):
    """Multiplies each row by its factor, and adds up the columns."""

    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scaled = x * factor
        return scaled, scaled.sum(dim=1)


def items() -> dict[str, dict[str, torch.Tensor]]:
    return {"two rows": {"x": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), "factor": torch.tensor([[2.0], [0.5]])}}


ROWS = Dim("rows", min=1, max=16)
MODEL = ModelSpec(
    name="scaled",
    build=Scaled,
    example_inputs={"x": torch.zeros(2, 3), "factor": torch.zeros(2, 1)},
    dynamic_shapes={"x": {0: ROWS}, "factor": {0: ROWS}},
    items=items,
    output_names=("scaled", "sums"),
)
