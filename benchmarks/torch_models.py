"""Models that have nothing to do with speech, for what the compiler makes of any torch model. Weights are random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS = 1000


@dataclass(frozen=True)
class Example:
    """``build`` makes the model, ``shape`` is that of its only input: numbers, or ids below ``WORDS``."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    of_ids: bool = False

    def make(self, seed: int = 0) -> tuple[nn.Module, Tensor]:
        """Return the model with seeded weights, ready for inference, and an input."""
        torch.manual_seed(seed)
        return self.build().eval(), torch.randint(0, WORDS, self.shape) if self.of_ids else torch.randn(self.shape)


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
    """Return a classifier of 64 x 64 images with four residual blocks."""
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


class VisionTransformer(nn.Module):
    """Patches of 8 x 8 pixels, a class token, positions that are learned."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, (size // 8) ** 2 + 1, width))
        layer = nn.TransformerEncoderLayer(width, 3, 4 * width, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.classes = nn.Linear(width, 100)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1) + self.places
        result: Tensor = self.classes(self.layers(x)[:, 0])
        return result


class Tagger(nn.Module):
    """A label for each word, by a recurrent layer in both directions."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.table, self.labels = nn.Embedding(WORDS, 64), nn.Linear(256, 17)
        self.layers = kind(64, 128, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.labels(self.layers(self.table(ids))[0])
        return result


class Decoder(nn.Module):
    """A language model without a cache: every token sees those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(WORDS, 128), nn.Parameter(torch.randn(64, 128))
        self.mixes = nn.ModuleList(nn.Linear(128, 3 * 128) for _ in range(4))
        self.joins = nn.ModuleList(nn.Linear(128, 128) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(128) for _ in range(8))
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Linear(128, 512), nn.GELU(approximate="tanh"), nn.Linear(512, 128)) for _ in range(4)
        )
        self.scores = nn.Linear(128, WORDS, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.places[: ids.shape[1]]
        for at, (mix, join, step) in enumerate(zip(self.mixes, self.joins, self.steps, strict=True)):
            q, k, v = mix(self.norms[2 * at](x)).unflatten(2, (3, 4, 32)).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + join(seen.transpose(1, 2).flatten(2))
            x = x + step(self.norms[2 * at + 1](x))
        result: Tensor = self.scores(x)
        return result


class Sound(nn.Module):
    """Convolutions over samples, some by channel, to scores of a clip."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            *(nn.Conv1d(1, 32, 10, stride=5), nn.BatchNorm1d(32), nn.GELU()),
            *(nn.Conv1d(32, 64, 5, stride=2, padding=2), nn.GroupNorm(8, 64), nn.ReLU()),
            *(nn.Conv1d(64, 64, 5, padding=4, dilation=2, groups=64), nn.Conv1d(64, 128, 1), nn.SiLU()),
            *(nn.Conv1d(128, 128, 3, stride=2), nn.BatchNorm1d(128), nn.Hardswish()),
        )
        self.scores = nn.Linear(128, 35)

    def forward(self, samples: Tensor) -> Tensor:
        return torch.log_softmax(self.scores(self.steps(samples).mean(-1)), -1)


class Picture(nn.Module):
    """A U-Net: smaller, larger again by transposed convolutions, with what was there before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = self.pair(3, 16), self.pair(16, 32)
        self.middle, self.larger = self.pair(32, 64), nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.back, self.last = self.pair(64, 32), nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.end = nn.Sequential(self.pair(32, 16), nn.Conv2d(16, 5, 1))

    @staticmethod
    def pair(inputs: int, outputs: int) -> nn.Module:
        first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        fine = self.wide(image)
        coarse = self.narrow(functional.max_pool2d(fine, 2))
        x = self.larger(self.middle(functional.max_pool2d(coarse, 2)))
        x = self.last(self.back(torch.cat((coarse, x), 1)))
        result: Tensor = self.end(torch.cat((fine, x), 1))
        return result


def bag() -> nn.Module:
    """Return a text classifier: the mean of its words' vectors."""
    return nn.Sequential(nn.EmbeddingBag(WORDS, 128, mode="mean"), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 20))


EXAMPLES = (
    Example("residual CNN, 64 x 64", resnet, (1, 3, 64, 64)),
    Example("inverted bottlenecks, 64 x 64", mobilenet, (1, 3, 64, 64)),
    Example("U-Net, 64 x 64", Picture, (1, 3, 64, 64)),
    Example("vision transformer, 64 x 64", lambda: VisionTransformer(64, 192), (1, 3, 64, 64)),
    Example("convolutions over 8000 samples", Sound, (1, 1, 8000)),
    Example("transformer encoder, 32 tokens", encoder, (1, 32, 128)),
    Example("causal decoder, 48 tokens", Decoder, (1, 48), of_ids=True),
    Example("LSTM tagger, 32 words", lambda: Tagger(nn.LSTM), (1, 32), of_ids=True),
    Example("GRU tagger, 32 words", lambda: Tagger(nn.GRU), (1, 32), of_ids=True),
    Example("bag of 40 words", bag, (4, 40), of_ids=True),
    Example("MLP, 8 rows", mlp, (8, 200)),
    Example("gates, 64 x 500", Gate, (64, 500)),
)
