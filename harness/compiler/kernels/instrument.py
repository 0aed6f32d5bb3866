"""What compiled code says while it runs, by calls of C functions that lie in the archive itself.

Marks, for profiles: a kernel says its number when it begins and the number's complement when it ends; a part of a
merged kernel begins where the part before it ended. What a call moves and computes is said where it is known only when
it runs. The C functions read the processor's counter and keep both (:mod:`harness.compiler.observe.profiling`).
Taps (:mod:`harness.compiler.observe.taps`) give away values instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost

UNCOUNTED = -1
"""The FLOPs of a call that counts none."""
_Self = TypeVar("_Self", bound="Sayings")


@dataclass
class Sayings(ABC):
    """The numbers of an archive's kernels, and what each says; ``prefix`` is that of the C functions.

    ``scope`` is the prefix of the function that is being compiled: in it, names of kernels are unique.
    """

    prefix: str
    scope: str = ""
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return self.numbers.setdefault(f"{self.scope}{name}", len(self.numbers))

    def within(self: _Self, scope: str) -> _Self:
        """The same for one of the archive's functions."""
        return type(self)(self.prefix, scope, self.numbers)

    @abstractmethod
    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        """Expressions to be evaluated before the first statement of a kernel or of a merged kernel's part."""

    @abstractmethod
    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        """Expressions to be evaluated behind a kernel's last statement; ``outputs``: its new tensors' buffers."""

    @abstractmethod
    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        """The same behind a part of a merged kernel."""

    @abstractmethod
    def end_merged(self, name: str) -> Iterator[Any]:
        """The same behind a merged kernel, whose parts have said theirs."""

    def _call(self, function: str, *values: Any) -> Any:
        arguments = [tvm.tirx.IntImm("int64", value) if isinstance(value, int) else value for value in values]
        return tvm.tirx.call_extern("int32", f"{self.prefix}{function}", *arguments)


class Marks(Sayings):
    """For profiles."""

    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        yield self._call("mark", self.of(name))
        if not cost.is_known:
            yield self._call("work", cost.bytes, UNCOUNTED if cost.flops is None else cost.flops)

    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield self._call("mark", ~self.of(name))

    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield from ()

    def end_merged(self, name: str) -> Iterator[Any]:
        yield from self.end(name, ())


def emit(expressions: Iterable[Any]) -> None:
    """Evaluate them at this place of the function under construction."""
    for expression in expressions:
        T.evaluate(expression)


def part_name(kernel: str, at: int) -> str:
    """Of a part of a merged kernel."""
    return f"{kernel}[{at}]"
