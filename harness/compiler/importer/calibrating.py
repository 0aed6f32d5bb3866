"""Run a model on usual inputs and keep what its layers' inputs look like, for rounding weights to int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from harness.compiler.importer.exporting import graph_arguments
from harness.compiler.importer.given_grids import GivenGrids
from harness.compiler.importer.ranges import convolutions, grids, seen_images
from harness.compiler.importer.sensitivity import first_calls, layer_costs
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


def calibrated(
    model: ModelFunctions,
    programs: Mapping[str, ExportedProgram],
    given: Mapping[str, GivenGrids] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Calibration]:
    """Return the layers' inputs, and the grids and costs of convolutions, by function.

    For a model without usual inputs, only the ``given`` grids, which take precedence over those that are found.
    """
    given = given or {name: GivenGrids() for name in programs}
    if model.calibrate is None:
        return {name: Calibration(grids=one.grids, scales=one.scales) for name, one in given.items()}
    seen: dict[str, dict[str, _Seen]] = {name: {} for name in programs}

    def call(function: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        program = programs[function]
        with torch.no_grad():
            return tuple(_Watched(program, seen[function]).run(*graph_arguments(program, inputs)))

    with _one_thread():
        model.calibrate(call)
        images = _images(model, programs, given, progress)
    for layers in seen.values():
        for one in layers.values():
            one.finish()
    return {
        name: replace(
            _calibration(program, seen[name]),
            scales=given[name].scales,
            **(images[name] if name in images else {"grids": given[name].grids}),
        )
        for name, program in programs.items()
    }


def _images(
    model: ModelFunctions,
    programs: Mapping[str, ExportedProgram],
    given: Mapping[str, GivenGrids],
    progress: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Return the grids of images and the costs of convolutions, for functions that have any."""
    watched = {name for name, program in programs.items() if convolutions(program)}
    if not watched or model.calibrate is None:
        return {}
    seen = seen_images(model.calibrate, programs)
    calls = first_calls(model.calibrate, programs)
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(watched):
        chosen = {**grids(seen[name], model.observer), **given[name].grids}
        costs = layer_costs(programs[name], chosen, calls[name], model.most_error, progress)
        found[name] = {"grids": chosen, "costs": costs}
    return found


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
