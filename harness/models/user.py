"""A model of a user's own, as one small Python file says it. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.validate.comparison import ComparisonRule, Tolerances

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class ModelSpec:
    """A torch module with what is needed to compile it, run it and judge it.

    ``build`` gives the module; it is called in a process of its own, several times, and has to give the same weights
    each time. ``example_inputs`` are tensors by the name of ``forward``'s parameter. ``items`` are the inputs that
    are run and compared, by a name of each, or a function that makes them. ``dynamic_shapes`` are
    ``torch.export.export``'s: by input, by axis, a ``torch.export.Dim``.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    example_inputs: Inputs
    items: Mapping[str, Inputs] | Callable[[], Mapping[str, Inputs]]
    compare: ComparisonRule = field(default_factory=Tolerances)
    dynamic_shapes: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    prefix: str | None = None
    """How the model's symbols begin; None: the name and an underscore. No model's may begin with another's."""
    output_names: Sequence[str] = ()
    """Of the tensors that the module returns, in their order; by default its dictionary's keys, or ``output_0`` ..."""
    files: Sequence[Path | str] = ()
    """What else the model is made of, such as a checkpoint: a change of one compiles and asks PyTorch again. Paths
    are relative to the file that the model stands in. Python files beside it are noticed by themselves."""
