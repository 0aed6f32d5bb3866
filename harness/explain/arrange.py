"""Taps as the exported graph's values: in its shapes and the order of its axes.

A kernel may write a value with its channels last, with its heads joined, or several operators' values side by side.
Where the shapes leave a choice, the arrangement is taken that is nearer to PyTorch's value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from harness.compiler.provenance import FunctionProvenance, Site
from harness.explain.errors import distance
from harness.explain.taps import Array

LANES = (4, 8, 16)
"""Positions in a block of keys (:mod:`harness.compiler.kernels.attention`): a vector's, which the target decides."""
STORED = "store_memory"
TURNED = "conv"
"""In the operators for which values have their channels last (:mod:`harness.compiler.passes.layout`)."""


def nodes_of(function: FunctionProvenance, site: Site, graph: fx.Graph) -> list[str]:
    """The operators whose values a site's output holds, side by side along the last axis where they are several."""
    if site.value is not None:
        return [function.operators[site.value].name]
    inside = {function.operators[number].name for number in site.operators}
    return [
        node.name
        for node in graph.nodes
        if node.name in inside and any(user.name not in inside for user in node.users) and _is_tensor(node)
    ]


def arranged(tap: Array, nodes: Sequence[str], graph: fx.Graph, expected: Mapping[str, Any]) -> dict[str, Tensor]:
    """Each node's value out of the tap, as float64 or as integers; empty where it cannot be told.

    ``expected``: PyTorch's values by node.
    """
    wanted = [expected[name] for name in nodes]
    if not wanted or not all(isinstance(value, Tensor) for value in wanted):
        return {}
    given = torch.from_numpy(tap.copy())
    given = given.double() if given.is_floating_point() else given
    if len(wanted) > 1 and (parts := _side_by_side(given, nodes, wanted)):
        return parts
    # Of several results one may be new, and the others written in place.
    fitting = [name for name, value in zip(nodes, wanted, strict=True) if value.numel() == given.numel()]
    if len(fitting) != 1:
        return {}
    (name,) = fitting
    node, value = next(node for node in graph.nodes if node.name == name), expected[name]
    best = min(_candidates(given, value, node), key=lambda one: distance(one.double(), value.double()).largest)
    return {name: best}


def _side_by_side(given: Tensor, nodes: Sequence[str], wanted: Sequence[Tensor]) -> dict[str, Tensor]:
    widths = [value.shape[-1] if value.dim() else 1 for value in wanted]
    if sum(value.numel() for value in wanted) != given.numel() or given.shape[-1] != sum(widths):
        return {}
    parts = torch.split_with_sizes(given, widths, -1)
    return {name: part.reshape(value.shape) for name, part, value in zip(nodes, parts, wanted, strict=True)}


def _candidates(given: Tensor, wanted: Tensor, node: fx.Node) -> Iterator[Tensor]:
    shape = wanted.shape
    if STORED in str(node.target):
        yield from _unblocked(given, wanted, node)
        return
    # An image of as many channels as rows and columns has one shape either way. Only models of images are turned: a
    # square matrix that is transposed by mistake must not look right.
    yield given.reshape(shape)
    if len(shape) >= 3 and any(TURNED in str(other.target) for other in node.graph.nodes):
        last = given.reshape(shape[0], *shape[2:], shape[1])
        yield last.movedim(-1, 1)
    if len(shape) == 4:
        joined = given.reshape(shape[0], shape[2], shape[1], shape[3])
        yield joined.transpose(1, 2)


def _unblocked(given: Tensor, wanted: Tensor, node: fx.Node) -> Iterator[Tensor]:
    """A memory [B, L, 2, C * G], whose keys lie as [H, C / lanes, K, lanes] and values as [H, C, K], with both as
    [C, G]; what lies beyond the encoder's rows is not written, and taken from ``wanted``."""
    source, heads, capacity = node.args[0], int(str(node.args[1])), int(str(node.args[2]))
    batch, layers, _, size = wanted.shape
    width = size // capacity
    assert isinstance(source, fx.Node)
    split = given.reshape(batch, layers, 2, size)
    values = split[:, :, 1].reshape(batch, layers, heads, capacity, width // heads).transpose(2, 3)
    for lanes in LANES:
        blocks = split[:, :, 0].reshape(batch, layers, heads, capacity // lanes, width // heads, lanes)
        keys = blocks.permute(0, 1, 3, 5, 2, 4)
        both = torch.stack([part.reshape(batch, layers, capacity, width) for part in (keys, values)], 2)
        found = wanted.double().reshape(both.shape).clone()
        used = found.abs().amax((0, 1, 2, 4)) > 0
        found[:, :, :, used] = both.double()[:, :, :, used]
        yield found.reshape(wanted.shape)


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)
