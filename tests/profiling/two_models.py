"""Two small models in one file, for a profile of a bundle; a file of its own, so that its archives stay cached."""

import torch
from torch import nn

from harness.models import ModelSpec


def picture() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 12 * 12, 5))


def chain() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24))


PICTURE = ModelSpec(
    name="picture",
    build=picture,
    example_inputs={"input": torch.zeros(1, 3, 12, 12)},
    items={"ones": {"input": torch.ones(1, 3, 12, 12)}, "zeros": {"input": torch.zeros(1, 3, 12, 12)}},
)
CHAIN = ModelSpec(
    name="chain",
    build=chain,
    example_inputs={"input": torch.zeros(7, 24)},
    items={"ones": {"input": torch.ones(7, 24)}},
)
