"""Take the grids of a program that was quantized before: torch's ``quantize`` and ``dequantize`` around operators.

A pair of both before a convolution, an addition or a pool of the largest becomes a note: this tensor has these bytes.
Convolutions then multiply bytes. What is left of such operators stays arithmetic in float32
(:mod:`harness.compiler.importer.quantizing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from harness.compiler.importer.constants import constant_state, replace_by_constant
from harness.compiler.importer.ranges import CONVOLUTIONS
from harness.compiler.kernels.grid import Grid

LINEAR = torch.ops.aten.linear.default
SHARED = (torch.ops.aten.add.Tensor, torch.ops.aten.max_pool2d_with_indices.default)
"""Operators whose inputs may be bytes without being rounded for them."""
QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
BY_CHANNEL = "quantized_decomposed.dequantize_per_channel.default"
PREFIX = "rounded_"
BYTE = 256


@dataclass(frozen=True)
class GivenGrids:
    """Hold the grids of tensors, and the steps of filters and weights, by node."""

    grids: dict[str, Grid] = field(default_factory=dict)
    scales: dict[str, tuple[float, ...]] = field(default_factory=dict)


def take_grids(program: ExportedProgram) -> GivenGrids:
    """Remove the pairs that can be bytes from a program, and return what they were."""
    found = GivenGrids()
    for number, (node, weight) in enumerate(list(_weights(program))):
        state = constant_state(program)
        values: list[Any] = [state[one.name] if isinstance(one, fx.Node) else one for one in weight.args]
        with torch.no_grad():
            constant = weight.target(*values, **weight.kwargs)  # type: ignore[operator]
        scales = values[1] if isinstance(values[1], Tensor) else torch.tensor(float(values[1]))
        found.scales[node.name] = tuple(float(one) for one in scales.expand(constant.shape[0]))
        replace_by_constant(program, weight, constant.contiguous(), f"{PREFIX}{number}")
    if not found.scales:
        return found
    for node in list(program.graph.nodes):
        grid = _grid(node)
        users = list(node.users)
        if grid is None or not users or not all(_takes(user, node) for user in users):
            continue
        source = node.args[0].args[0]
        if found.grids.setdefault(source.name, grid) == grid:
            node.replace_all_uses_with(source)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return found


def _weights(program: ExportedProgram) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Yield the convolutions and linear layers whose weight is steps by output channel, and what makes it numbers."""
    state = constant_state(program)
    for node in program.graph.nodes:
        if node.target not in (*CONVOLUTIONS, LINEAR) or not isinstance(node.args[1], fx.Node):
            continue
        weight = node.args[1]
        if str(weight.target) not in (DEQUANTIZE, BY_CHANNEL) or len(weight.users) != 1:
            continue
        steps, scales, zeros, *rest = (state.get(one.name) if isinstance(one, fx.Node) else one for one in weight.args)
        by_output = str(weight.target) == DEQUANTIZE or rest[0] == 0
        around_zero = zeros == 0 if isinstance(zeros, int) else isinstance(zeros, Tensor) and not bool(zeros.any())
        if steps is not None and scales is not None and by_output and around_zero:
            yield node, weight


def _grid(node: fx.Node) -> Grid | None:
    """Return the grid of a tensor that was just quantized with the same numbers; None for all other nodes."""
    if str(node.target) != DEQUANTIZE:
        return None
    steps = node.args[0]
    if not isinstance(steps, fx.Node) or str(steps.target) != QUANTIZE or steps.args[1:] != node.args[1:]:
        return None
    numbers: tuple[Any, ...] = steps.args[1:6]
    if not isinstance(steps.args[0], fx.Node) or not all(isinstance(one, int | float) for one in numbers[:4]):
        return None
    scale, zero, low, high = numbers[:4]
    moved = BYTE // 2 if numbers[4] == torch.int8 else 0
    grid = Grid(float(scale), int(zero + moved), int(low + moved), int(high + moved))
    return grid if 0 <= grid.low <= grid.zero <= grid.high < BYTE else None


def _takes(user: fx.Node, node: fx.Node) -> bool:
    return user.target in SHARED or (user.target in CONVOLUTIONS and user.args[0] is node)
