"""Run the exported graph in PyTorch, node by node, in a given arithmetic.

The nodes' names are those of an archive's provenance. Both come from
:func:`harness.compiler.importer.exporting.exported`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils._pytree import tree_map

from harness.compiler.importer.exporting import graph_arguments
from harness.protocol.schema import Precision


class Arithmetic(Enum):
    """Name the arithmetic in which a graph is computed."""

    SINGLE = "float32"
    """PyTorch's own float32. It measures the error of float32 itself."""
    DOUBLE = "float64"
    """The reference, whose own rounding is negligible."""
    ROUNDED = "rounded"
    """Float64 with the archive's weights (and caches) in fewer bits. It measures the error of the fewer bits."""


_KEPT = {
    Arithmetic.SINGLE: {torch.float16: torch.float32},
    Arithmetic.DOUBLE: {torch.float16: torch.float64, torch.float32: torch.float64},
    Arithmetic.ROUNDED: {torch.float32: torch.float64},
}
_WEIGHT: dict[Any, int] = {
    torch.ops.aten.linear.default: 1,
    torch.ops.aten.embedding.default: 0,
}
"""Maps each operator whose weight is stored in fewer bits to the number of the weight's argument."""


@dataclass
class Values:
    """Hold one run of a graph: ``own`` is each node's value from its inputs; ``results`` are the graph's results."""

    own: dict[str, Any] = field(default_factory=dict)
    results: tuple[Any, ...] = ()


def run_graph(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    arithmetic: Arithmetic,
    precision: Precision,
    given: Mapping[str, Tensor] | None = None,
) -> Values:
    """Return the values of all nodes.

    A node in ``given`` passes that value on to its users, so that every other node computes from the device's values.
    Its own value is kept all the same.
    """
    arguments = graph_arguments(program, inputs)
    run = _Run(program, arithmetic, precision, given or {})
    with torch.no_grad():
        results = run.run(*(run.taken(argument) for argument in arguments))
    run.values.results = tuple(results)
    return run.values


class _Run(fx.Interpreter):
    def __init__(
        self, program: ExportedProgram, arithmetic: Arithmetic, precision: Precision, given: Mapping[str, Tensor]
    ) -> None:
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.arithmetic, self.precision, self.given = arithmetic, precision, given
        self.values = Values()

    def taken(self, value: Any) -> Any:
        """Return a tensor or a dtype in this arithmetic."""
        other = _KEPT[self.arithmetic]
        if isinstance(value, torch.dtype):
            return other.get(value, value)
        return value.to(other[value.dtype]) if isinstance(value, Tensor) and value.dtype in other else value

    def run_node(self, n: fx.Node) -> Any:
        if n.op != "call_function" or isinstance(n.target, str):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        args, kwargs = tree_map(self.taken, (list(args), kwargs))
        at = _WEIGHT.get(n.target)
        if at is not None and self.arithmetic is Arithmetic.ROUNDED:
            args[at] = rounded(args[at], "fp16" if at == 0 and self.precision != "fp32" else self.precision)
        found = tree_map(self.taken, self._called(n.target, args, kwargs))
        self.values.own[n.name] = found
        # The graph may view it, so it must be contiguous: a value from another layout has strides of its own.
        return self.given[n.name].to(found.dtype).contiguous() if n.name in self.given else found

    def _called(self, target: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        try:
            return target(*args, **kwargs)
        except (RuntimeError, NotImplementedError):
            if self.arithmetic is Arithmetic.SINGLE:
                raise
            # An operator without float64 is computed in float32, and the next ones in float64 again.
            args, kwargs = tree_map(_single, (args, kwargs))
            return target(*args, **kwargs)


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value


def rounded(weight: Tensor, precision: Precision) -> Tensor:
    """Return a weight [N, K] as an archive of that precision holds it; int8 has a scale for each of the N outputs."""
    if precision == "fp16":
        return weight.half().to(weight.dtype)
    if precision == "int8":
        scale = weight.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
        return (weight / scale).round() * scale
    return weight
