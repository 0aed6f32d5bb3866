"""A user's model for a test of packaging; a file of its own, so that its archives stay cached."""

import torch

from harness.models import ModelSpec


class Twice(torch.nn.Module):
    """Doubles its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


MODEL = ModelSpec(
    name="twice",
    build=Twice,
    example_inputs={"x": torch.zeros(1, 3)},
    items={"ones": {"x": torch.ones(1, 3)}},
)
