"""Round int4 weights with regard to a text: each weight's error is made up for by those of its row that follow.

The method is GPTQ (Frantar et al. 2023, "GPTQ: Accurate post-training quantization for generative pre-trained
transformers"), layer by layer, on the layer's inputs over the text, which come from layers that are rounded already.
The steps of a group are those of ``harness/compiler/kernels/groups.py``, and the element from which a group's scale
comes stays at the lowest step. So the compiler rounds the result to itself, and needs no other way of storing it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from harness.models.language.weights import Weights

LOWEST, HIGHEST = -8, 7
"""The steps of four bits."""
DAMPING = 0.01
"""A share of the inputs' mean square that is added to each one's, as in the method's own code."""
BATCH = 8
"""The windows that are computed together."""


def rounded(weight: Tensor, gram: Tensor, group: int) -> Tensor:
    """Return a weight [N, K] rounded to steps of groups of inputs, so that products with its inputs change little.

    ``gram`` [K, K] is the sum of the inputs' outer products, in float64.
    """
    gram = gram.clone()
    diagonal = gram.diagonal()
    # An input that is always zero decides nothing.
    diagonal += DAMPING * diagonal.mean() + (diagonal == 0)
    # The rows of this factor are what the method takes from the inverse of what remains, one input after the other.
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(gram)), upper=True)
    left, found = weight.double().clone(), torch.empty_like(weight)
    rows = torch.arange(len(weight))
    depth = weight.shape[1]
    for begin in range(0, depth, group):
        part = left[:, begin : begin + group]
        largest = part.abs().argmax(1)
        scale = (part[rows, largest] / LOWEST).to(torch.float16).double()
        for at in range(begin, min(begin + group, depth)):
            step = torch.floor(left[:, at] / torch.where(scale == 0, 1.0, scale) + 0.5).clamp(LOWEST, HIGHEST)
            step = torch.where(largest == at - begin, float(LOWEST), step)
            found[:, at] = (step * scale).float()
            error = (left[:, at] - found[:, at].double()) / factor[at, at]
            left[:, at + 1 :] -= error[:, None] * factor[at, at + 1 :]
    return found


def calibrate(model: Any, tokens: Sequence[Sequence[int]], group: int, progress: Callable[[str], None]) -> None:
    """Round the matrices of all layers of transformers' model in place; ``tokens`` are windows of one length."""
    inner = model.model if hasattr(model, "model") else model.transformer
    layers = inner.layers if hasattr(inner, "layers") else inner.h
    size = min(BATCH, len(tokens))
    windows = torch.tensor([list(window) for window in tokens[: len(tokens) // size * size]])
    batches = list(torch.split(windows, size))
    with torch.inference_mode():
        asked = _asked(layers, lambda batch: inner(input_ids=batch, use_cache=False), batches)
        states = [first for first, _, _ in asked[0]]
        for number, layer in enumerate(layers):
            progress(f"rounding layer {number + 1} of {len(layers)} with regard to the text")
            calls = [(rest, named) for _, rest, named in asked[number]]

            for module, gram in _grams(layer, states, calls).items():
                turned = isinstance(module, Conv1D)
                weight: Tensor = module.weight.data  # type: ignore[assignment]
                better = rounded(weight.t() if turned else weight, gram, group)
                weight.copy_(better.t() if turned else better)
            states = _run(layer, states, calls)


Call = tuple[tuple[Any, ...], dict[str, Any]]
Asked = tuple[Tensor, tuple[Any, ...], dict[str, Any]]


def _run(layer: Any, states: Sequence[Tensor], calls: Sequence[Call]) -> list[Tensor]:
    """Return what a layer makes of the states of all batches."""
    outputs = [layer(x, *rest, **named) for x, (rest, named) in zip(states, calls, strict=True)]
    return [one if isinstance(one, Tensor) else one[0] for one in outputs]


def _asked(layers: Any, run: Callable[[Tensor], Any], batches: Sequence[Tensor]) -> list[list[Asked]]:
    """Return with what each layer is called for each batch: its input, and further arguments such as masks.

    Only the first layer's inputs are kept.
    """
    found: list[list[Asked]] = [[] for _ in layers]

    def keep(number: int) -> Callable[..., None]:
        def kept(_module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            more = dict(named)
            x = given[0] if given else more.pop("hidden_states")
            found[number].append((x if number == 0 else x[:0], given[1:], more))

        return kept

    hooks = [layer.register_forward_pre_hook(keep(at), with_kwargs=True) for at, layer in enumerate(layers)]
    try:
        for batch in batches:
            run(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _grams(layer: nn.Module, states: Sequence[Tensor], calls: Sequence[Call]) -> dict[nn.Module, Tensor]:
    """Return the sum of outer products of the inputs of each product of a layer, in float64."""
    found: dict[nn.Module, Tensor] = {}

    def add(module: nn.Module, given: tuple[Any, ...]) -> None:
        rows = given[0].flatten(0, -2).double()
        found[module] = found.get(module, 0) + rows.t() @ rows

    products = [one for one in layer.modules() if isinstance(one, nn.Linear | Conv1D)]
    hooks = [one.register_forward_pre_hook(add) for one in products]
    try:
        _run(layer, states, calls)
    finally:
        for hook in hooks:
            hook.remove()
    return found


class CalibratedWeights:
    """Give the rounded matrices of a model's layers, and everything else as it is stored."""

    def __init__(self, stored: Weights, model: nn.Module) -> None:
        inside = {
            f"{name}.weight": one.weight.data
            for name, one in model.named_modules()
            if isinstance(one, nn.Linear | Conv1D) and any(part in name for part in (".layers.", ".h."))
        }
        self.stored: Weights = stored
        self.rounded: Mapping[str, Any] = inside

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        found = self.rounded.get(name)
        if found is None:
            return self.stored.take(name, shape)
        assert isinstance(found, Tensor)
        return found
