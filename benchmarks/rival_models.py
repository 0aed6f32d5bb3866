"""Build the models of rivals.py, with seeded random weights, each under a name of ``benchmarks.rival_names``.

The architectures are those of torchvision, timm and transformers where these libraries have them. Every model has
inputs of one size, which all engines get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2ConformerConfig, Wav2Vec2Model, WhisperConfig
from transformers.models.wav2vec2_conformer import modeling_wav2vec2_conformer as conformers
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks.torch_models import Picture, VisionTransformer
from harness.models import ModelSpec, Tolerances
from harness.models.examples import bert, detector

Inputs = dict[str, Tensor]
TOLERANCE = Tolerances(relative=1e-3)
"""What rivals.py asks of float32; it judges the answers itself."""


class First(nn.Module):
    """Give a model its input by position, and keep the first tensor of what it returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        result = self.module(x)
        kept: Tensor = result if isinstance(result, Tensor) else result[0]
        return kept


class ConformerBlock(nn.Module):
    """One layer of transformers' Conformer, with relative positions."""

    def __init__(self) -> None:
        super().__init__()
        config = Wav2Vec2ConformerConfig(
            hidden_size=256, num_attention_heads=4, intermediate_size=1024, position_embeddings_type="relative"
        )
        self.positions = conformers.Wav2Vec2ConformerRelPositionalEmbedding(config)
        self.layer = conformers.Wav2Vec2ConformerEncoderLayer(config)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x, relative_position_embeddings=self.positions(x))
        return result


class KeywordSpotter(nn.Module):
    """The small DS-CNN for 49 frames of 10 coefficients: one convolution, four that are split by channel."""

    def __init__(self, channels: int = 64, words: int = 12) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, channels, (10, 4), stride=(2, 2), padding=(5, 1), bias=False)]
        steps: list[nn.Module] = [*layers, nn.BatchNorm2d(channels), nn.ReLU()]
        for _ in range(4):
            steps += [
                *(nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.BatchNorm2d(channels)),
                *(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()),
            ]
        self.steps = nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, words))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.steps(x)
        return result


def noise(*shape: int) -> Inputs:
    return {"x": torch.randn(shape, generator=torch.Generator().manual_seed(1))}


def lively(module: nn.Module) -> nn.Module:
    """Draw weights of convolutions and norms whose activations neither vanish nor grow with depth.

    As they are made, those of MobileNetV2 vanish to 1e-9. Nothing is computed here, so that any number of threads makes
    the same weights.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            nn.init.uniform_(part.weight, 0.6, 1.2)
            nn.init.normal_(part.bias, 0.0, 0.1)
            nn.init.normal_(part.running_mean, 0.0, 0.1)
            nn.init.uniform_(part.running_var, 0.6, 1.4)
    return module


def _torchvision(name: str) -> nn.Module:
    return lively(torchvision.models.get_model(name, weights=None))


def _timm(name: str) -> nn.Module:
    return lively(timm.create_model(name, pretrained=False))


def _whisper() -> nn.Module:
    config = WhisperConfig()  # the sizes of whisper-tiny
    return First(WhisperEncoder(config))


def _wav2vec2() -> nn.Module:
    return First(Wav2Vec2Model(Wav2Vec2Config()))  # the sizes of wav2vec2-base


_BUILDERS: dict[str, tuple[Callable[[], Any], Callable[[], Inputs]]] = {
    "mobilenet-v2": (lambda: First(_torchvision("mobilenet_v2")), lambda: noise(1, 3, 224, 224)),
    "mobilenet-v3-small": (lambda: First(_torchvision("mobilenet_v3_small")), lambda: noise(1, 3, 224, 224)),
    "mobilenet-v4-conv-small": (lambda: First(_timm("mobilenetv4_conv_small")), lambda: noise(1, 3, 224, 224)),
    "efficientnet-lite0": (lambda: First(_timm("efficientnet_lite0")), lambda: noise(1, 3, 224, 224)),
    "resnet-18": (lambda: First(_torchvision("resnet18")), lambda: noise(1, 3, 224, 224)),
    "regnet-x-400mf": (lambda: First(_torchvision("regnet_x_400mf")), lambda: noise(1, 3, 224, 224)),
    "detector": (detector.Detector, lambda: detector.picture(1)),
    "u-net": (lambda: First(Picture()), lambda: noise(1, 3, 64, 64)),
    "vision-transformer": (lambda: First(VisionTransformer(64, 192)), lambda: noise(1, 3, 64, 64)),
    "vit-tiny": (lambda: First(_timm("vit_tiny_patch16_224")), lambda: noise(1, 3, 224, 224)),
    "mobilevit-s": (lambda: First(_timm("mobilevit_s")), lambda: noise(1, 3, 256, 256)),
    "bert-7": (bert.build, lambda: bert.text(7)),
    "bert-23-of-32": (bert.build, lambda: bert.text(23, 9)),
    "bert-101": (bert.build, lambda: bert.text(101)),
    "whisper-tiny-encoder": (_whisper, lambda: noise(1, 80, 3000)),
    "wav2vec2-base-1s": (_wav2vec2, lambda: noise(1, 16000)),
    "conformer-block": (ConformerBlock, lambda: noise(1, 100, 256)),
    "ds-cnn": (lambda: First(lively(KeywordSpotter())), lambda: noise(1, 1, 49, 10)),
}
BUILT = tuple(_BUILDERS)


def spec(name: str) -> ModelSpec:
    """Return the model of this name; raises KeyError for an unknown one."""
    make, inputs = _BUILDERS[name]

    def build() -> nn.Module:
        torch.manual_seed(0)
        made: nn.Module = make()
        return made

    given = inputs()
    return ModelSpec(name=name, build=build, example_inputs=given, items={"one": given}, compare=TOLERANCE)
