"""Apply the element-wise steps that follow a convolution to its results while they are in registers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tvm.tirx.script import builder as T

from harness.compiler.kernels import vector
from harness.compiler.kernels.kernel import Param
from harness.compiler.kernels.vector import ACTIVATIONS, F32, f32

Kind = Literal["value", "scalar", "channel", "tensor"]


@dataclass(frozen=True)
class Operand:
    """Name an operand of a step.

    ``value`` 0 is the convolution's result, and ``value`` n that of the n-th step. A ``scalar`` is a number, a
    ``channel`` an array with a number for each channel, and a ``tensor`` an array of the result's shape.
    """

    kind: Kind
    at: int = 0
    number: float = 0.0


@dataclass(frozen=True)
class Step:
    """Hold the name of an operator in ``BINARY`` or ``UNARY``, and its operands."""

    name: str
    operands: tuple[Operand, ...]


def _sigmoid(x: Any, lanes: int) -> Any:
    return vector.sigmoid_like(f32(1.0, lanes), f32(-1.0, lanes) * x, lanes)


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": vector.highest,
    "minimum": vector.lowest,
}
BOUNDS: dict[str, Callable[[Any, Any], Any]] = {"maximum": T.max, "minimum": T.min}
"""The same with a number as the first operand: the other one is returned if it is NaN, at no cost."""
UNARY: dict[str, Callable[[Any, int], Any]] = {**ACTIVATIONS, "sigmoid": _sigmoid}
"""The operators of one operand."""
MOST_AT_ONCE = 3
"""The most steps that are applied to sums in registers. LLVM keeps the constants of more in registers, too."""


@dataclass(frozen=True)
class Epilogue:
    """Hold steps in their order; the last one computes the result. Without steps the result is the sum."""

    steps: tuple[Step, ...] = ()
    channels: int = 0
    tensors: int = 0

    @property
    def label(self) -> str:
        """Return a name that contains everything on which the statements depend."""
        names = "_".join(step.name for step in self.steps)
        return f"{names}_{hashlib.sha256(repr(self.steps).encode()).hexdigest()[:8]}" if self.steps else ""

    @property
    def is_light(self) -> bool:
        """Return whether the steps may be applied to a whole tile of sums without moving them out of registers."""
        return len(self.steps) <= MOST_AT_ONCE and all(
            step.name in BINARY or step.name == "relu" for step in self.steps
        )

    def params(self, filters: int, shape: tuple[int, ...]) -> tuple[list[Param], list[Param]]:
        """Return the parameters of the tensors, and those of the channels."""
        tensors = [Param(f"tensor{at}", shape) for at in range(self.tensors)]
        return tensors, [Param(f"channel{at}", (filters,), F32, "weight") for at in range(self.channels)]

    def emit(self, value: Any, lanes: int, read: Callable[[str], Any]) -> Any:
        """Return the steps' result. ``read`` returns the vector of a parameter that belongs to ``value``."""
        values = [value]

        def operand(one: Operand) -> Any:
            if one.kind == "value":
                return values[one.at]
            return f32(one.number, lanes) if one.kind == "scalar" else read(f"{one.kind}{one.at}")

        for step in self.steps:
            numbers_first = sorted(step.operands, key=lambda one: one.kind != "scalar")
            operands = [operand(one) for one in (numbers_first if step.name in BOUNDS else step.operands)]
            if step.name in BOUNDS and numbers_first[0].kind == "scalar":
                values.append(BOUNDS[step.name](*operands))
            elif step.name in BINARY:
                values.append(BINARY[step.name](*operands))
            else:
                values.append(UNARY[step.name](operands[0], lanes))
            if any(Operand("value", len(values) - 1) in later.operands for later in self.steps):
                values[-1] = T.bind(values[-1])
        return values[-1]
