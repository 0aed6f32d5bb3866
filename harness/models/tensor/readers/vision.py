"""Read a model of torchvision or timm by its name. With ``:random`` after the name it has seeded weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from harness.core.installation import install_cure
from harness.models.tensor.readers.made import name_of, pictures
from harness.models.tensor.sources import BadModel
from harness.models.tensor.spec import ModelSpec

RANDOM = "random"
CURE = "see that the weights can be downloaded, or take seeded ones: {}:random"


def torchvision_spec(argument: str) -> ModelSpec:
    """Return the spec of a model that takes one picture, with torchvision's default weights. Raises BadModel."""
    name, random = _parsed("torchvision", argument)
    models: Any = _library("torchvision").models
    if name not in models.list_models():
        raise BadModel(f"torchvision has no model {name}", cure="torchvision.models.list_models() lists them")
    module = models.get_model_builder(name).__module__
    if not module.startswith("torchvision.models.") or any(
        f".{other}." in f"{module}." for other in ("detection", "optical_flow", "quantization", "video")
    ):
        raise BadModel(
            f"torchvision's {name} takes more than one picture, or returns no tensors",
            cure="describe it in a Python file of its own, as docs/your-model.md shows",
        )
    weights = models.get_model_weights(name).DEFAULT
    # The parts of a segmentation are downloaded on their own otherwise.
    backbone = {"weights_backbone": None} if ".segmentation." in module else {}
    crop = getattr(weights.transforms(), "crop_size", None) or [224]

    def build() -> nn.Module:
        if random:
            torch.manual_seed(0)
            made: nn.Module = models.get_model(name, weights=None, **backbone)
            return made
        # Not torchvision's own way, which unpickles the file.
        state = torch.hub.load_state_dict_from_url(weights.url, check_hash=True, weights_only=True, progress=False)
        auxiliary = backbone | ({"aux_loss": True} if any(key.startswith("aux_classifier.") for key in state) else {})
        made = models.get_model(name, weights=None, num_classes=len(weights.meta["categories"]), **auxiliary)
        made.load_state_dict(state)
        return made

    return _spec(f"torchvision:{name}", name, build, (3, int(crop[0]), int(crop[0])))


def timm_spec(argument: str) -> ModelSpec:
    """Return the spec of a model of timm, with its pretrained weights. Raises BadModel."""
    name, random = _parsed("timm", argument)
    timm: Any = _library("timm")
    if not timm.is_model(name.partition(".")[0]):
        raise BadModel(f"timm has no model {name}", cure="timm.list_models() lists them")
    size = timm.get_pretrained_cfg(name).input_size

    def build() -> nn.Module:
        torch.manual_seed(0)
        made: nn.Module = timm.create_model(name, pretrained=not random)
        return made

    return _spec(f"timm:{name}", name, build, tuple(int(one) for one in size))


def _spec(label: str, name: str, build: Callable[[], nn.Module], size: tuple[int, ...]) -> ModelSpec:
    def checked() -> nn.Module:
        try:
            return build()
        except Exception as error:  # Downloads and hubs raise many kinds.
            raise BadModel(f"{label} cannot be built: {error}", cure=CURE.format(label)) from error

    channels, height, width = size
    items = {item: {"x": picture} for item, picture in pictures((channels, height, width)).items()}
    return ModelSpec(
        name=name_of(name), build=lambda: _ByPosition(checked()), example_inputs=items["noise"], items=items
    )


class _ByPosition(nn.Module):
    """Give the picture by position: libraries name that parameter in several ways."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> Any:
        return self.module(x)


def _parsed(library: str, argument: str) -> tuple[str, bool]:
    name, _, weights = argument.partition(":")
    if weights not in ("", RANDOM):
        raise BadModel(
            f"{library}:{argument}: the weights are not {weights}",
            cure=f"write {library}:{name}:random, or leave it out",
        )
    return name, weights == RANDOM


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadModel(f"{name} is not installed: {error}", cure=install_cure("vision")) from error
