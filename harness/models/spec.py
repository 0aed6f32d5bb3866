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

    ``example_inputs`` and ``dynamic_shapes`` are ``torch.export.export``'s; the module returns one tensor.
    """

    name: str
    module: torch.nn.Module
    example_inputs: tuple[torch.Tensor, ...]
    dynamic_shapes: tuple[dict[int, Any] | None, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A model family's functions and the facts that its metadata carries to the runner."""

    kind: str
    functions: tuple[ModelFunction, ...]
    metadata: dict[str, Any]
    encoder_capacity: int = 0
    """Most encoder tokens of one row, for kernels with a fixed scratch buffer; 0 where none is needed."""
