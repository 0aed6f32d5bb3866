"""Arrange taps as the exported graph's values, with its shapes and the order of its axes.

A kernel may write a value with its channels last or with its heads joined. It may write several operators' values side
by side, or the parts of one operator's value separately. If the shapes allow several arrangements, the one nearest to
PyTorch's value is taken.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from harness.compiler.observe.provenance import FunctionProvenance, Site
from harness.explain.errors import distance
from harness.explain.taps import Array

LANES = (4, 8, 16)
"""Positions in a block of keys (:mod:`harness.compiler.kernels.attention`): a vector's width, set by the target."""
STORED = "store_memory"
TURNED = "conv"
"""Part of the names of operators that use channels-last values (:mod:`harness.compiler.passes.p12_channels_last`)."""


# Reasons why a kernel's output is compared with no value of PyTorch's; they follow "a kernel that …".
IN_PLACE = "writes into memory that is there already"
NO_OPERATOR = "moves data, and computes no operator"
WITHIN = "prepares what a later kernel computes an operator of"
NO_VALUE = "computes no operator's value as PyTorch has it"
BYTES = "hands on bytes instead of PyTorch's numbers"
OTHER_LAYOUT = "has an unknown layout"
OTHER_PARTS = "has other parts than PyTorch's value"


@dataclass(frozen=True)
class Arranged:
    """Hold a kernel's output as ``values`` of nodes; if there are none, ``why`` is the reason."""

    values: dict[str, Tensor] = field(default_factory=dict)
    why: str = ""


def read_site(
    function: FunctionProvenance, index: int, outputs: Sequence[Array], graph: fx.Graph, expected: Mapping[str, Any]
) -> Arranged:
    """Return the recorded outputs of a site as values of the exported graph.

    ``index`` chooses one of the function's leaves. ``expected`` are PyTorch's values by node.
    """
    site = list(function.leaves())[index]
    if not outputs:
        return Arranged(why=IN_PLACE)
    if not site.operators:
        return Arranged(why=NO_OPERATOR)
    ready = _ready(function, index)
    names = nodes_of(function, index, graph)
    if len(outputs) == 1 and outputs[0].dtype.itemsize == 1 and _is_fraction(site, function, expected):
        return Arranged(why=BYTES)
    if len(outputs) == 1:
        inside = {function.operators[number].name for number in site.operators}
        ends = [name for name in names if not inside & {user.name for user in _node(name, graph).users}]
        # A norm with several readers is not written; each product that reads it computes it anew.
        for some in (names, ends):
            if found := arranged(outputs[0], some, graph, expected):
                return Arranged(found)
    for node in graph.nodes:
        parts = {user.name for user in node.users} if len(outputs) > 1 else set()
        if node.name in ready and _is_several(node) and {*names} <= {node.name, *parts}:
            return _parts(outputs, node, graph, expected)
    if site.value is not None:
        return Arranged(why=OTHER_LAYOUT)
    return Arranged(why=NO_VALUE if ready else WITHIN)


def _is_fraction(site: Site, function: FunctionProvenance, expected: Mapping[str, Any]) -> bool:
    """Return whether the last operator of a site has a value of fractions, in PyTorch."""
    value = expected.get(function.operators[site.operators[-1]].name)
    return isinstance(value, Tensor) and value.is_floating_point()


def nodes_of(function: FunctionProvenance, index: int, graph: fx.Graph) -> list[str]:
    """Return the operators whose values a leaf's output contains; several lie side by side along the last axis."""
    site = list(function.leaves())[index]
    if site.value is not None:
        name = function.operators[site.value].name
        # An archive of another version may stand for operators that the graph of today does not have.
        return [name] if any(node.name == name for node in graph.nodes) else []
    inside = {function.operators[number].name for number in site.operators}
    ready = _ready(function, index)
    return [
        node.name
        for node in graph.nodes
        if node.name in ready and any(user.name not in inside for user in node.users) and _is_tensor(node)
    ]


def _ready(function: FunctionProvenance, index: int) -> set[str]:
    """Return the operators that a leaf computes to their end.

    An operator that a later kernel computes too is not finished. A rearranged input, for example, is not the value of
    the operator that reads it, though it may have the same shape.
    """
    site, *later = list(function.leaves())[index:]
    unfinished = {number for leaf in later for number in leaf.operators} - {site.value}
    return {function.operators[number].name for number in site.operators if number not in unfinished}


def _parts(outputs: Sequence[Array], node: fx.Node, graph: fx.Graph, expected: Mapping[str, Any]) -> Arranged:
    """Arrange the used parts of an operator's value. A single output is the first part, as for a pool with indices."""
    if len(outputs) not in (1, len(node.meta["val"])):
        return Arranged(why=OTHER_PARTS)
    found: dict[str, Tensor] = {}
    for user in node.users:
        if user.target is operator.getitem and isinstance(at := user.args[1], int) and at < len(outputs):
            found |= arranged(outputs[at], [user.name], graph, expected)
    return Arranged(found, "" if found else OTHER_LAYOUT)


def arranged(tap: Array, nodes: Sequence[str], graph: fx.Graph, expected: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return each node's value from the tap, as float64 or as integers; empty if the arrangement is unknown.

    ``expected`` are PyTorch's values by node.
    """
    wanted = [expected[name] for name in nodes]
    if not wanted or not all(isinstance(value, Tensor) for value in wanted):
        return {}
    given = torch.from_numpy(tap.copy())
    given = given.double() if given.is_floating_point() else given
    if len(wanted) > 1 and (parts := _side_by_side(given, nodes, wanted)):
        return parts
    # One of several results may be new, while the others are written in place.
    fitting = [name for name, value in zip(nodes, wanted, strict=True) if value.numel() == given.numel()]
    if len(fitting) != 1:
        return {}
    (name,) = fitting
    node, value = _node(name, graph), expected[name]
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
    # An image with as many channels as rows and columns has the same shape either way. Only models of images are
    # turned, because a square matrix that was transposed by mistake must not look right.
    yield given.reshape(shape)
    if len(shape) >= 3 and any(TURNED in str(other.target) for other in node.graph.nodes):
        last = given.reshape(shape[0], *shape[2:], shape[1])
        yield last.movedim(-1, 1)
    if len(shape) == 4:
        joined = given.reshape(shape[0], shape[2], shape[1], shape[3])
        yield joined.transpose(1, 2)


def _unblocked(given: Tensor, wanted: Tensor, node: fx.Node) -> Iterator[Tensor]:
    """Yield a memory [B, L, 2, C * G] with keys and values as [C, G], once for each number of lanes.
    The keys come as [H, C / lanes, K, lanes] and the values as [H, C, K]. Rows beyond the encoder's are not written and
    are taken from ``wanted``.
    """
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


def _node(name: str, graph: fx.Graph) -> fx.Node:
    node: fx.Node = next(node for node in graph.nodes if node.name == name)
    return node


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _is_several(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), tuple | list)
