"""Run a model on usual inputs and keep what its layers' inputs look like, for rounding weights to int8."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from harness.compiler.importer.exporting import graph_arguments
from harness.compiler.kernels.rounding import Calibration, LayerInputs
from harness.models.functions import ModelFunctions

MOST_DEPTH = 2048
"""Layers with more inputs are rounded plainly: their correlations would take too much memory."""
ENOUGH_ROWS = 16_384
"""Rows of inputs after which a layer is seen well enough."""
AT_ONCE = 1024
"""Rows that are summed up together."""
LINEAR = torch.ops.aten.linear.default


@dataclass
class _Seen:
    """Sum up the rows of one input, many at a time."""

    total: Tensor
    crests: float = 0.0
    rows: int = 0
    waiting: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor) -> None:
        # The next node may write into the tensor.
        self.waiting.append(x.reshape(-1, x.shape[-1]).clone())
        if sum(map(len, self.waiting)) >= AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Sum up what waits."""
        if not self.waiting:
            return
        rows = torch.cat(self.waiting)
        self.waiting.clear()
        squares = rows.square()
        means = squares.mean(-1)
        known = means > 0
        self.crests += float((squares.amax(-1)[known] / means[known]).sum())
        self.total += rows.T @ rows
        self.rows += int(known.sum())


class _Watched(fx.Interpreter):
    """Run a graph and sum up the inputs of its linear layers. Layers with one input share the sums."""

    def __init__(self, program: ExportedProgram, seen: dict[str, _Seen]) -> None:
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.seen = seen

    def run_node(self, n: fx.Node) -> Any:
        if n.target is LINEAR and isinstance(n.args[0], fx.Node):
            x = self.env[n.args[0]]
            if x.shape[-1] <= MOST_DEPTH:
                found = self.seen.setdefault(n.args[0].name, _Seen(torch.zeros([x.shape[-1]] * 2)))
                if n.name == _first_user(n) and found.rows < ENOUGH_ROWS:
                    found.add(x)
        return super().run_node(n)


def _first_user(node: fx.Node) -> str:
    """Return the name of the first linear layer that has the same input."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return next(user.name for user in source.users if user.target is LINEAR)


def calibrated(model: ModelFunctions, programs: Mapping[str, ExportedProgram]) -> dict[str, Calibration]:
    """Return the layers' inputs by function; empty for a model without usual inputs."""
    if model.calibrate is None:
        return {}
    seen: dict[str, dict[str, _Seen]] = {name: {} for name in programs}

    def call(function: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        program = programs[function]
        with torch.no_grad():
            return tuple(_Watched(program, seen[function]).run(*graph_arguments(program, inputs)))

    with _one_thread():
        model.calibrate(call)
    for layers in seen.values():
        for one in layers.values():
            one.finish()
    return {name: _calibration(program, seen[name]) for name, program in programs.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums keep their order, and small products do not wait for each other on a busy machine."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def _calibration(program: ExportedProgram, seen: Mapping[str, _Seen]) -> Calibration:
    known = {
        source: LayerInputs((one.total / one.rows).double().numpy(), one.crests / one.rows)
        for source, one in seen.items()
        if one.rows
    }
    layers = {
        node.name: known[node.args[0].name]
        for node in program.graph.nodes
        if node.target is LINEAR and isinstance(node.args[0], fx.Node) and node.args[0].name in known
    }
    return Calibration(layers)
