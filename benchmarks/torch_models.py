"""Models that have nothing to do with speech, for what the compiler makes of any torch model. Weights are random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Example:
    """``build`` makes the model, ``shape`` is that of its only input."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def make(self) -> tuple[nn.Module, Tensor]:
        """The model with seeded weights, ready for inference, and an input."""
        torch.manual_seed(0)
        return self.build().eval(), torch.randn(self.shape)


class Residual(nn.Module):
    """ResNet's basic block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(y)))


class Inverted(nn.Module):
    """MobileNetV2's block: wider, a convolution by channel, narrower."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 6 * channels
        self.steps = nn.Sequential(
            *(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.steps(x)
        return result


def resnet() -> nn.Module:
    """A classifier of 64 x 64 images with four residual blocks."""
    stem = [nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
    middle = [Residual(32), Residual(32), nn.Conv2d(32, 64, 3, stride=2, padding=1), Residual(64), Residual(64)]
    return nn.Sequential(*stem, *middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 100))


def mobilenet() -> nn.Module:
    stem = [nn.Conv2d(3, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU6()]
    return nn.Sequential(*stem, Inverted(24), Inverted(24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 100))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(128, 4, 512, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(200, 500), nn.GELU(), nn.Linear(500, 300), nn.Tanh(), nn.Linear(300, 10))


class Gate(nn.Module):
    """Nothing but element-wise steps and reductions: a softmax over gates, a mean taken off."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.softmax(x, -1) * torch.sigmoid(x) + torch.tanh(x) * torch.erf(x)
        return y - y.mean(-1, keepdim=True)


EXAMPLES = (
    Example("residual CNN, 64 x 64", resnet, (1, 3, 64, 64)),
    Example("inverted bottlenecks, 64 x 64", mobilenet, (1, 3, 64, 64)),
    Example("transformer encoder, 32 tokens", encoder, (1, 32, 128)),
    Example("MLP, 8 rows", mlp, (8, 200)),
    Example("gates, 64 x 500", Gate, (64, 500)),
)
