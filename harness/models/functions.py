"""Describe a model to the compiler: its functions as torch modules with example inputs.

This is the whole interface between a model family and the compile path; nothing in it is about G2P.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from harness.models.quantization import Observer

Call = Callable[[str, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]
"""(name of a function, its inputs) to its results."""


@dataclass(frozen=True)
class ModelFunction:
    """Describe one compiled function, with a system-lib prefix of its own and the VM entry ``main``.

    ``example_inputs`` and ``dynamic_shapes`` are those of ``torch.export.export``. The module returns one tensor, or as
    many as ``results`` has entries. In the second case the compiled function writes each result in place and returns
    the first. The number in ``results`` is the argument to write to; None means an argument added after the others.
    """

    name: str
    module: torch.nn.Module
    example_inputs: tuple[torch.Tensor, ...]
    dynamic_shapes: tuple[Any, ...] | None
    results: tuple[int | None, ...] = ()
    shared_panels: bool = False
    """Whether its products of one row read their weights as products of many rows do. The weights are then stored once
    for both, where another function of the model has the same ones."""
    heads: tuple[str, ...] = ()
    """Patterns of layers that have eight bits in an int4 model, such as the one that computes logits."""


@dataclass(frozen=True)
class ModelFunctions:
    """A model's functions, and the facts that its metadata carries to the runner."""

    functions: tuple[ModelFunction, ...]
    metadata: dict[str, Any]
    calibrate: Callable[[Call], None] | None = None
    """Calls the functions with inputs as they occur in use, from which int8 weights are rounded; None if none are
    known."""
    observer: Observer = "mse"
    """How int8 tensors between convolutions get their range."""
    most_error: float = 0.1
    """The error of the results over the results, as root mean squares on usual inputs, above which the convolutions
    that cause most of it stay wide in int8."""
    int4_group: int = 32
    """How many inputs share a scale of int4 weights: 32, 64 or 128."""
