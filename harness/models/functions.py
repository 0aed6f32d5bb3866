"""What the compiler needs to know of a model: its functions as torch modules with example inputs.

This is the whole interface between a model family and the compile path; nothing in it is about G2P.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ModelFunction:
    """One compiled function, with a system-lib prefix of its own and the VM entry ``main``.

    ``example_inputs`` and ``dynamic_shapes`` are ``torch.export.export``'s. The module returns one tensor, or as
    many as ``results`` has entries: the compiled function then writes each result in place, into the argument of
    that number, or where the number is None into an argument added behind the others; it returns the first.
    """

    name: str
    module: torch.nn.Module
    example_inputs: tuple[torch.Tensor, ...]
    dynamic_shapes: tuple[Any, ...] | None
    results: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class ModelFunctions:
    """A model's functions, and the facts that its metadata carries to the runner."""

    functions: tuple[ModelFunction, ...]
    metadata: dict[str, Any]
