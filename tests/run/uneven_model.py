"""A model with a layer that int8 cannot hold: one weight of each output is far larger than the others, and not used."""

import torch
from torch import nn

from harness.models import ModelSpec
from harness.validate.comparison import Tolerances


class Uneven(nn.Module):
    def __init__(self, outlier: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 40), nn.Linear(40, 30)
        self.third = nn.Linear(30, 8)
        with torch.no_grad():
            self.first.weight[0] *= 0
            self.first.bias[0] *= 0
            self.second.weight[:, 0] += outlier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.third(torch.tanh(self.second(torch.relu(self.first(x)))))
        return found


def build() -> nn.Module:
    torch.manual_seed(3)
    return Uneven(outlier=100.0)


def items() -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    return {name: {"x": torch.randn(6, 24)} for name in ("first", "second")}


RULE = Tolerances(relative=0.02)
PLAIN = ModelSpec("uneven", build, {"x": torch.zeros(6, 24)}, items, compare=RULE)
WIDE = ModelSpec("wider", build, {"x": torch.zeros(6, 24)}, items, compare=RULE, keep_wide=["second"])
