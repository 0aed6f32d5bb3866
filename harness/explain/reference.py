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
from harness.explain.rounding import Rounding


class Arithmetic(Enum):
    """Name the arithmetic in which a graph is computed."""

    SINGLE = "float32"
    """PyTorch's own float32. It measures the error of float32 itself."""
    DOUBLE = "float64"
    """The reference, whose own rounding is negligible."""
    ROUNDED = "rounded"
    """Float64 with the archive's weights, activations and caches in fewer bits. It measures the error of these."""


_KEPT = {
    Arithmetic.SINGLE: {torch.float16: torch.float32},
    Arithmetic.DOUBLE: {torch.float16: torch.float64, torch.float32: torch.float64},
    Arithmetic.ROUNDED: {torch.float32: torch.float64},
}
_LINEAR, _EMBEDDING = torch.ops.aten.linear.default, torch.ops.aten.embedding.default
_CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default)
"""The operators whose weights are stored in fewer bits."""


@dataclass
class Values:
    """Hold one run of a graph: ``own`` is each node's value from its inputs; ``results`` are the graph's results."""

    own: dict[str, Any] = field(default_factory=dict)
    results: tuple[Any, ...] = ()


def run_graph(
    program: ExportedProgram,
    inputs: Sequence[Tensor],
    arithmetic: Arithmetic,
    rounding: Rounding,
    function: str,
    given: Mapping[str, Tensor] | None = None,
) -> Values:
    """Return the values of all nodes of a function's graph.

    A node in ``given`` passes that value on to its users, so that every other node computes from the device's values.
    Its own value is kept all the same.
    """
    arguments = graph_arguments(program, inputs)
    run = _Run(program, arithmetic, rounding, function, given or {})
    with torch.no_grad():
        results = run.run(*(run.taken(argument) for argument in arguments))
    run.values.results = tuple(results)
    return run.values


class _Run(fx.Interpreter):
    def __init__(
        self,
        program: ExportedProgram,
        arithmetic: Arithmetic,
        rounding: Rounding,
        function: str,
        given: Mapping[str, Tensor],
    ) -> None:
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.arithmetic, self.rounding, self.function, self.given = arithmetic, rounding, function, given
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
        if self.arithmetic is Arithmetic.ROUNDED and n.target is _LINEAR:
            args[0] = self.rounding.inputs(self.function, n.name, args[0])
            args[1] = self.rounding.linear(self.function, n.name, args[1])
        elif self.arithmetic is Arithmetic.ROUNDED and n.target in _CONVOLUTIONS:
            args[0] = self.rounding.image(self.function, n.name, args[0])
            args[1] = self.rounding.filters(self.function, n.name, args[1])
        elif self.arithmetic is Arithmetic.ROUNDED and n.target is _EMBEDDING:
            args[0] = self.rounding.table(args[0])
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
