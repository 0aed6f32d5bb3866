"""Define a user's own model, described by one small Python file. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.models.quantization import Observer
from harness.validate.comparison import ComparisonRule, Tolerances

if TYPE_CHECKING:
    import torch

Inputs = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class ModelSpec:
    """Describe a torch module and what is needed to compile it, run it and judge it.

    ``build`` returns the module. It is called in a process of its own, several times, and must give the same weights
    each time. ``example_inputs`` are tensors by the names of ``forward``'s parameters. ``items`` are the inputs that
    are run and compared, each by a name, or a function that makes them. ``dynamic_shapes`` are those of
    ``torch.export.export``: by input and axis, a ``torch.export.Dim``.
    """

    name: str
    build: Callable[[], torch.nn.Module]
    example_inputs: Inputs
    items: Mapping[str, Inputs] | Callable[[], Mapping[str, Inputs]]
    compare: ComparisonRule = field(default_factory=Tolerances)
    dynamic_shapes: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    prefix: str | None = None
    """The prefix of the model's symbols; None means the name and an underscore. No model's prefix may begin with
    another's."""
    output_names: Sequence[str] = ()
    """The names of the tensors that the module returns, in their order; by default its dictionary's keys, or
    ``output_0`` ..."""
    keep_wide: Sequence[str] = ()
    """Patterns of layers that are stored one precision wider in fp16 and int8, such as ``layers.0``; as in a shell, and
    as ``--keep-wide`` takes them. Each has to match."""
    calibration: Mapping[str, Inputs] | Callable[[], Mapping[str, Inputs]] | None = None
    """Inputs as they occur in use, by any name, or a function that makes them: int8 weights and tensors are rounded for
    these. None means the items."""
    observer: Observer = "mse"
    """How int8 tensors between convolutions get their range from these inputs: ``min-max``, ``percentile`` or
    ``mse``."""
    most_error: float = 0.1
    """The error of the results over the results, on these inputs, above which the convolutions that cause most of it
    stay wide in int8. At most a quarter of them do."""
    files: Sequence[Path | str] = ()
    """Further files of the model, such as a checkpoint: if one changes, the model is compiled and PyTorch asked again.
    Paths are relative to the model's file. Changes of Python files next to it are noticed without this."""
