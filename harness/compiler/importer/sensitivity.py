"""Measure what each convolution costs if it alone has eight bits, and choose those that stay wide.

PyTorch runs the exported graph on usual inputs, with the images and filters of one convolution rounded to their steps.
The error of the model's results is that convolution's cost. Once more all of them are rounded: if the error is above
the model's limit, the most expensive ones stay wide, as few as it takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from harness.compiler.importer.exporting import graph_arguments
from harness.compiler.importer.ranges import convolutions
from harness.compiler.kernels.grid import Grid
from harness.compiler.kernels.rounding import LayerCost
from harness.models.functions import Call

MOST_CALLS = 2
"""The calls of a function that are measured. Each convolution needs a run of the whole graph for each."""
MOST_KEPT = 4
"""At most one of so many convolutions stays wide because of its measured error."""
WEIGHT_STEPS = 127

Inputs = tuple[Tensor, ...]


class _EnoughCalls(Exception):
    """End the model's calls: what is measured has been seen."""


@dataclass(frozen=True)
class _Rounded:
    """Hold how images are rounded, and which convolutions."""

    grids: Mapping[str, Grid]
    nodes: Collection[str]
    own: dict[str, float]
    """Filled with the errors of the convolutions' own results."""


class _Run(fx.Interpreter):
    def __init__(self, program: ExportedProgram, rounded: _Rounded) -> None:
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.rounded = rounded

    def run_node(self, n: fx.Node) -> Any:
        if n.name not in self.rounded.nodes:
            return super().run_node(n)
        args: list[Any] = [self.env[one] if isinstance(one, fx.Node) else one for one in n.args]
        x, weight, *rest = args
        source = n.args[0]
        assert isinstance(source, fx.Node)
        image = _on_grid(x, self.rounded.grids[source.name])
        # Filters by channel stay float32: they are few.
        filters = weight if weight.shape[1] == 1 and weight.shape[0] > 1 else _in_steps(weight)
        found = n.target(image, filters, *rest, **n.kwargs)  # type: ignore[operator]
        if len(self.rounded.nodes) == 1:
            exact = n.target(x, weight, *rest, **n.kwargs)  # type: ignore[operator]
            self.rounded.own[n.name] = max(self.rounded.own.get(n.name, 0.0), distance([found], [exact]))
        return found


def _on_grid(x: Tensor, grid: Grid) -> Tensor:
    steps = (x / grid.scale).round().clamp(grid.low - grid.zero, grid.high - grid.zero)
    return steps * grid.scale


def _in_steps(weight: Tensor) -> Tensor:
    axes = tuple(range(1, weight.ndim))
    scale = weight.abs().amax(axes, keepdim=True).clamp(min=1e-20) / WEIGHT_STEPS
    return (weight / scale).round() * scale


def distance(found: list[Any], exact: list[Any]) -> float:
    """Return the root mean square of the differences over that of the exact numbers, of all tensors together."""
    pairs = [(one.double(), other.double()) for one, other in zip(found, exact, strict=True) if one.is_floating_point()]
    power = sum(float(other.square().sum()) for _, other in pairs)
    error = sum(float((one - other).square().sum()) for one, other in pairs)
    return (error / power) ** 0.5 if power > 0 else 0.0


def first_calls(calibrate: Callable[[Call], None], programs: Mapping[str, ExportedProgram]) -> dict[str, list[Inputs]]:
    """Return the inputs of the first calls of each function."""
    found: dict[str, list[Inputs]] = {name: [] for name in programs}

    def call(function: str, inputs: Inputs) -> Inputs:
        if len(found[function]) < MOST_CALLS:
            found[function].append(tuple(one.clone() for one in inputs))
        elif all(len(one) >= MOST_CALLS for one in found.values()):
            raise _EnoughCalls
        program = programs[function]
        return tuple(_run(program, inputs, _Rounded({}, (), {})))

    with contextlib.suppress(_EnoughCalls):
        calibrate(call)
    return found


def _run(program: ExportedProgram, inputs: Inputs, rounded: _Rounded) -> list[Any]:
    with torch.no_grad():
        results = _Run(program, rounded).run(*graph_arguments(program, inputs))
    return [leaf for leaf in pytree.tree_leaves(results) if isinstance(leaf, Tensor)]


def layer_costs(
    program: ExportedProgram,
    grids: Mapping[str, Grid],
    calls: list[Inputs],
    most_error: float,
    progress: Callable[[str], None],
) -> dict[str, LayerCost]:
    """Return the costs of the convolutions whose images have a grid, by node."""
    nodes = [
        node
        for node in convolutions(program)
        if isinstance(node.args[0], fx.Node) and node.args[0].name in grids and _is_constant(node.args[1])
    ]
    if not calls or not nodes:
        return {}
    exact = [_run(program, inputs, _Rounded({}, (), {})) for inputs in calls]

    def error(names: Collection[str], own: dict[str, float]) -> float:
        rounded = _Rounded(grids, names, own)
        found = [_run(program, inputs, rounded) for inputs in calls]
        return max(distance(one, other) for one, other in zip(found, exact, strict=True))

    costs: dict[str, LayerCost] = {}
    for at, node in enumerate(nodes):
        progress(f"measuring eight bits: {at + 1} of {len(nodes)} convolutions")
        own: dict[str, float] = {}
        whole = error([node.name], own)
        costs[node.name] = LayerCost(own[node.name], whole)
    worst = sorted(costs, key=lambda name: -costs[name].whole)
    kept = _fewest(worst, lambda left: error(left, {}) <= most_error)
    return {name: LayerCost(one.own, one.whole, name in kept) for name, one in costs.items()}


def _fewest(worst: list[str], fits: Callable[[list[str]], bool]) -> set[str]:
    """Return the fewest of the worst without which the others fit; at most a share of all."""
    low, high = 0, len(worst) // MOST_KEPT
    while low < high:
        middle = (low + high) // 2
        if fits(worst[middle:]):
            high = middle
        else:
            low = middle + 1
    return set(worst[:low])


def _is_constant(argument: Any) -> bool:
    return isinstance(argument, fx.Node) and (argument.op == "placeholder" or _behind(argument).op == "placeholder")


def _behind(node: fx.Node) -> fx.Node:
    """Return what a node is a layout of."""
    while node.op == "call_function" and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return node
