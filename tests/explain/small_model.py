"""A small model with the kinds of values that an explanation has to arrange; a file of its own, so that runs name
it."""

import torch
from torch import nn

from harness.models import ModelSpec


class Small(nn.Module):
    """Convolutions, of which the first's output has its input's shape; parts of one value; a pool; products."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.layers = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 50), nn.GELU(), nn.Linear(50, 70))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        left, right = torch.relu(self.second(self.first(image))).chunk(2, 1)
        rows = self.pool(left) + self.pool(torch.sigmoid(right))
        return torch.softmax(self.layers(rows.flatten(1).reshape(-1, 20)), -1)


def build() -> nn.Module:
    torch.manual_seed(0)
    return Small()


def items() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    return {name: {"image": torch.randn(1, 6, 10, 10)} for name in ("first", "second")}


SPEC = ModelSpec("small", build, {"image": torch.zeros(1, 6, 10, 10)}, items)
