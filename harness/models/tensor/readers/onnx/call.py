"""One node's call: its inputs and attributes, and the table of operators.

Values are tensors, or arrays of numpy where they are known while the graph is read: constants, and whatever is computed
from them and from shapes. Sizes, axes and the like have to be known, since PyTorch takes them as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.models.tensor.sources import BadModel

Known: TypeAlias = NDArray[Any]
Value: TypeAlias = "Tensor | Known"
Results: TypeAlias = "Value | tuple[Value | None, ...]"
Operator: TypeAlias = "Callable[[Call], Results]"

OPERATORS: dict[str, Operator] = {}
"""The operators of ONNX by name. Each module of this folder registers its own."""

CURE = "export the model with torch.onnx.export for a fixed size, or give the torch module itself in a Python file"


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Register the decorated function for operators of ONNX."""

    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def as_tensor(value: Value) -> Tensor:
    """Return the value as a tensor; a known one becomes a constant of the graph."""
    if isinstance(value, Tensor):
        return value
    if value.dtype.hasobject:  # sizes that are not numbers before the model runs
        return torch.stack([torch.scalar_tensor(one, dtype=torch.int64) for one in value.reshape(-1)]).reshape(
            value.shape
        )
    return torch.from_numpy(np.ascontiguousarray(value).copy()).reshape(value.shape)


@dataclass(frozen=True)
class Call:
    """Hold what an operator is given. Optional inputs that are left out are None."""

    name: str
    operator: str
    version: int
    """The version of ONNX's operator set that the model was written for."""
    inputs: Sequence[Value | None]
    attributes: Mapping[str, Any]
    outputs: int
    """How many results are wanted."""
    constants: Sequence[Known | None]
    """The inputs that are constants of the model, also where they are tensors."""

    def refuse(self, why: str) -> BadModel:
        """Return the error that names this node."""
        return BadModel(f"the node {self.name!r} ({self.operator}): {why}", cure=CURE)

    def has(self, at: int) -> bool:
        return at < len(self.inputs) and self.inputs[at] is not None

    def tensor(self, at: int) -> Tensor:
        """Return an input as a tensor; raises BadModel if it is left out."""
        if not self.has(at):
            raise self.refuse(f"its input {at} is missing")
        value = self.inputs[at]
        assert value is not None
        return as_tensor(value)

    def optional(self, at: int) -> Tensor | None:
        return self.tensor(at) if self.has(at) else None

    def tensors(self) -> list[Tensor]:
        return [self.tensor(at) for at in range(len(self.inputs))]

    def known(self, at: int) -> Known:
        """Return an input that has to be known before the model runs; raises BadModel."""
        value = self.inputs[at] if self.has(at) else None
        if isinstance(value, np.ndarray):
            return value
        constant = self.constants[at] if at < len(self.constants) else None
        if constant is None:
            raise self.refuse(f"its input {at} depends on the model's inputs, where a constant is needed")
        return constant

    @property
    def all_known(self) -> bool:
        return all(value is None or isinstance(value, np.ndarray) for value in self.inputs)

    def ints(self, attribute: str, at: int | None = None) -> list[Any] | None:
        """Return sizes, axes or the like: an input in newer versions, an attribute in older ones; None if absent."""
        if at is not None and self.has(at):
            return list(self.known(at).reshape(-1).tolist())
        found = self.attributes.get(attribute)
        return None if found is None else list(found) if isinstance(found, (list, tuple)) else [found]

    def number(self, attribute: str, default: float, at: int | None = None) -> Any:
        """Return one number, as ``ints`` does."""
        if at is not None and self.has(at):
            return self.known(at).reshape(-1).tolist()[0]
        return self.attributes.get(attribute, default)

    def text(self, attribute: str, default: str = "") -> str:
        found = self.attributes.get(attribute, default)
        return found.decode() if isinstance(found, bytes) else str(found)


def each_axis(axis: int, rank: int) -> int:
    """Return an axis counted from the beginning."""
    return axis + rank if axis < 0 else axis
