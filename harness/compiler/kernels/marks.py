"""Marks: what compiled code says while it is profiled, by calls of C functions that lie in the archive itself.

A kernel says its number when it begins and the number's complement when it ends; a part of a merged kernel begins where
the part before it ended. What a call moves and computes is said where it is known only when it runs. The C functions
read the processor's counter and keep both (:mod:`harness.compiler.instruments`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost

UNCOUNTED = -1
"""The FLOPs of a call that counts none."""


@dataclass
class Marks:
    """The numbers of an archive's kernels; ``prefix`` is that of the C functions.

    ``scope`` is the prefix of the function that is being compiled: in it, names of kernels are unique.
    """

    prefix: str
    scope: str = ""
    numbers: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return self.numbers.setdefault(f"{self.scope}{name}", len(self.numbers))

    def within(self, scope: str) -> Marks:
        """The same marks for one of the archive's functions."""
        return Marks(self.prefix, scope, self.numbers)

    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        """Expressions to be evaluated before a kernel's first statement."""
        yield self._call("mark", self.of(name))
        if not cost.is_known:
            yield self._call("work", cost.bytes, UNCOUNTED if cost.flops is None else cost.flops)

    def end(self, name: str) -> Any:
        return self._call("mark", ~self.of(name))

    def emit_begin(self, name: str, cost: Cost) -> None:
        for expression in self.begin(name, cost):
            T.evaluate(expression)

    def emit_end(self, name: str) -> None:
        T.evaluate(self.end(name))

    def _call(self, function: str, *values: Any) -> Any:
        arguments = [tvm.tirx.IntImm("int64", value) if isinstance(value, int) else value for value in values]
        return tvm.tirx.call_extern("int32", f"{self.prefix}{function}", *arguments)


def part_name(kernel: str, at: int) -> str:
    """Of a part of a merged kernel."""
    return f"{kernel}[{at}]"
