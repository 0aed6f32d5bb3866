"""Which values of the exported graph a kernel's outputs are: of a graph that is small enough to be read."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import pytest
import torch
from torch import fx

from harness.compiler.observe.provenance import FunctionProvenance, Operator, Site
from harness.explain.arrange import IN_PLACE, NO_OPERATOR, NO_VALUE, OTHER_LAYOUT, OTHER_PARTS, WITHIN, read_site

pytestmark = pytest.mark.programs

ATEN = torch.ops.aten
NORM, FIRST, SECOND, SPLIT, LEFT, RIGHT, SUM, POOL, INDICES, POOLED, CONV = range(11)
"""Numbers of the graph's operators, which are its nodes in their order."""


@pytest.fixture(scope="module")
def graph() -> fx.Graph:
    """An input's norm, two products behind it, one's halves, their sum with the norm; a pool, and a convolution of it
    with the pool's own shape."""
    made = fx.Graph()
    given = made.placeholder("given")
    norm = made.call_function(ATEN.layer_norm.default, (given, [8]))
    first = made.call_function(ATEN.linear.default, (norm,))
    second = made.call_function(ATEN.linear.default, (norm,))
    split = made.call_function(ATEN.split_with_sizes.default, (first, [4, 4], -1))
    halves = [made.call_function(operator.getitem, (split, at)) for at in (0, 1)]
    total = made.call_function(ATEN.add.Tensor, (halves[0], halves[1]))
    pool = made.call_function(ATEN.max_pool2d_with_indices.default, (norm, [1]))
    indices = made.call_function(operator.getitem, (pool, 1))
    pooled = made.call_function(operator.getitem, (pool, 0))
    conv = made.call_function(ATEN.convolution.default, (pooled,))
    made.output((total, norm, second, indices, conv))
    for node in made.nodes:
        if node.op == "call_function":
            several = node in (split, pool)
            one = torch.zeros(2, 4) if node in (*halves, total) else torch.zeros(2, 8)
            node.meta["val"] = (one, one) if several else one
    return made


@pytest.fixture(scope="module")
def expected(graph: fx.Graph) -> dict[str, object]:
    torch.manual_seed(0)
    found: dict[str, object] = {}
    for node in graph.nodes:
        if node.op == "call_function":
            value = node.meta["val"]
            found[node.name] = (
                tuple(map(torch.randn_like, value)) if isinstance(value, tuple) else torch.randn(value.shape)
            )
    return found


def function(graph: fx.Graph, sites: Sequence[Site]) -> FunctionProvenance:
    names = [node.name for node in graph.nodes if node.op == "call_function"]
    operators = [Operator(name=name, target="", module="", kind="") for name in names]
    return FunctionProvenance(name="main", operators=operators, sites=list(sites))


def site(*operators: int, value: int | None = None) -> Site:
    return Site(kernel="k", operators=list(operators), value=value)


@pytest.mark.parametrize(
    ("kernel", "outputs"),
    [
        (site(SPLIT, LEFT, RIGHT), [LEFT, RIGHT]),
        (site(FIRST, SPLIT, LEFT, RIGHT), [LEFT, RIGHT]),
        (site(SPLIT, LEFT, RIGHT, value=SPLIT), [LEFT, RIGHT]),
        (site(POOL), [POOLED]),
        (site(POOL, POOLED), [POOLED]),
        (site(SUM, value=SUM), [SUM]),
    ],
)
def test_the_parts_of_a_value_are_told_apart(
    graph: fx.Graph, expected: dict[str, torch.Tensor], kernel: Site, outputs: list[int]
) -> None:
    whole = function(graph, [kernel])
    names = [whole.operators[number].name for number in outputs]
    found = read_site(whole, 0, [expected[name].numpy() for name in names], graph, expected)
    assert list(found.values) == names, found.why
    assert all(torch.equal(found.values[name], expected[name].double()) for name in names)


def test_products_behind_a_norm_that_others_read_are_side_by_side(
    graph: fx.Graph, expected: dict[str, torch.Tensor]
) -> None:
    """The kernel computes the norm for itself and writes the products alone."""
    whole = function(graph, [site(NORM, FIRST, SECOND)])
    names = [whole.operators[number].name for number in (FIRST, SECOND)]
    tap = torch.cat([expected[name] for name in names], -1).numpy()
    found = read_site(whole, 0, [tap], graph, expected)
    assert list(found.values) == names


@pytest.mark.parametrize(
    ("kernels", "outputs", "why"),
    [
        ([site(SUM, value=SUM)], [], IN_PLACE),
        ([site()], [(2, 8)], NO_OPERATOR),
        # An image that is turned for the convolution behind it has that one's shape.
        ([site(CONV), site(CONV, value=CONV)], [(2, 8)], WITHIN),
        ([site(SUM)], [(3, 5)], NO_VALUE),
        ([site(SUM, value=SUM)], [(3, 5)], OTHER_LAYOUT),
        ([site(SPLIT, LEFT, RIGHT)], [(2, 4)] * 3, OTHER_PARTS),
    ],
)
def test_what_is_no_value_is_told_why(
    graph: fx.Graph,
    expected: dict[str, torch.Tensor],
    kernels: list[Site],
    outputs: list[tuple[int, ...]],
    why: str,
) -> None:
    taps = [torch.zeros(shape).numpy() for shape in outputs]
    found = read_site(function(graph, kernels), 0, taps, graph, expected)
    assert (found.values, found.why) == ({}, why)
