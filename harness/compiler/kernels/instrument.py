"""Define instrumentation: calls of C functions in the archive, at the beginning and at the end of every kernel.

Kernels only emit the calls. :mod:`harness.compiler.observe` contains the two kinds, for profiling and for tracing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost

_Self = TypeVar("_Self", bound="Instrumentation")


@dataclass
class Instrumentation(ABC):
    """Number the kernels of an archive and make the calls at their ends.

    ``prefix`` begins the names of the C functions. ``scope`` is the prefix of the function that is being compiled;
    within it, names of kernels are unique.
    """

    prefix: str
    scope: str = ""
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Return the kernel's number; a new name gets the next one."""
        return self.numbers.setdefault(f"{self.scope}{name}", len(self.numbers))

    def within(self: _Self, scope: str) -> _Self:
        """Return the same instrumentation for one of the archive's functions."""
        return type(self)(self.prefix, scope, self.numbers)

    @abstractmethod
    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        """Make the calls before the first statement of a kernel, or of a part of a merged kernel."""

    @abstractmethod
    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        """Make the calls after a kernel's last statement. ``outputs`` are the buffers of its new tensors."""

    @abstractmethod
    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        """Make the calls after a part of a merged kernel."""

    @abstractmethod
    def end_merged(self, name: str) -> Iterator[Any]:
        """Make the calls after a merged kernel, whose parts have made their own."""

    def _call(self, function: str, *values: Any) -> Any:
        arguments = [tvm.tirx.IntImm("int64", value) if isinstance(value, int) else value for value in values]
        return tvm.tirx.call_extern("int32", f"{self.prefix}{function}", *arguments)


def emit(expressions: Iterable[Any]) -> None:
    """Evaluate the expressions at this place of the function under construction."""
    for expression in expressions:
        T.evaluate(expression)


def part_name(kernel: str, at: int) -> str:
    """Return the name of a part of a merged kernel."""
    return f"{kernel}[{at}]"
