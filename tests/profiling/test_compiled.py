"""Compiled code reports what it is, what it moves and computes, and which operator is the slow one."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from harness.compiler.observe.provenance import FunctionProvenance, Site, common_module
from harness.models.functions import ModelFunction
from harness.profiling import calls
from tests.profiling.marked import Marked, compiled

pytestmark = pytest.mark.compiler

ROWS, WIDTH, WIDE = 5, 24, 4096
LAYERS = 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
        return result


class Model(nn.Module):
    """Two small layers, and between them a product as large as a few hundred of theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Block(), Block()
        self.culprit = nn.Sequential(nn.Linear(WIDTH, WIDE), nn.Linear(WIDE, WIDTH))
        self.image = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.culprit(self.first(x)))
        return torch.softmax(self.image(x.transpose(1, 2)), -1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Marked:
    torch.manual_seed(0)
    shapes = ({1: Dim("rows", min=2, max=64)},)
    function = ModelFunction("main", Model().eval(), (torch.zeros(1, ROWS, WIDTH),), shapes)
    return compiled(function, tmp_path_factory.mktemp("marked"), "test_compiled_profile_")


def function_of(model: Marked) -> FunctionProvenance:
    return model.provenance.functions[0]


def module_of(function: FunctionProvenance, site: Site) -> str:
    return common_module([function.operators[number] for number in site.operators])


def test_every_call_has_its_operators_and_every_operator_its_call(model: Marked) -> None:
    function = function_of(model)
    assert all(site.operators for site in function.sites)
    computed = {number for site in function.sites for number in site.operators}
    assert {function.operators[number].target for number in computed} >= {
        "aten.linear.default",
        "aten.gelu.default",
        "aten.layer_norm.default",
        "aten.convolution.default",
        "aten._softmax.default",
    }
    targets = [operator.target for operator in function.operators]
    assert targets.count("aten.linear.default") == 2 * LAYERS + 2
    products = [site for site in function.sites if site.kernel.startswith("product")]
    assert [module_of(function, site) for site in products] == [
        "first",
        "first",
        "culprit.0",
        "culprit.1",
        "last",
        "last",
    ]
    assert len({tuple(site.operators) for site in products}) == len(products)
    values = [None if site.value is None else function.operators[site.value].target for site in products[:3]]
    assert values == ["aten.gelu.default", "aten.add.Tensor", "aten.linear.default"]


@pytest.mark.parametrize("rows", [ROWS, 11])
def test_work_is_reported_for_the_sizes_of_the_call(model: Marked, rows: int) -> None:
    found = list(calls(model.provenance, model.record(np.ones((1, rows, WIDTH), np.float32))))
    function = function_of(model)
    assert [call.index for call in found] == list(range(len(function.sites)))
    by_kernel = dict(zip((site.kernel for site in function.sites), found, strict=True))
    product = next(call for name, call in by_kernel.items() if name.startswith(f"product_{WIDTH}_{WIDE}"))
    assert product.flops == 2 * rows * WIDTH * WIDE
    assert product.bytes == 4 * (rows * WIDTH + WIDTH * WIDE + WIDE + rows * WIDE)
    convolution = next(call for name, call in by_kernel.items() if name.startswith("fused_conv1d"))
    assert convolution.flops == 2 * rows * WIDTH * WIDTH * 3
    assert convolution.bytes == 4 * (2 * rows * WIDTH + 3 * WIDTH * WIDTH + WIDTH)
    assert all(call.begin <= call.end for call in found)
    assert all(before.end <= after.begin for before, after in itertools.pairwise(found))


def test_a_deliberately_slow_operator_is_named(model: Marked) -> None:
    function = function_of(model)
    taken: dict[str, list[int]] = defaultdict(list)
    for _ in range(9):
        found = calls(model.provenance, model.record(np.ones((1, 48, WIDTH), np.float32)))
        spent: dict[str, int] = defaultdict(int)
        for call in found:
            spent[module_of(function, function.sites[call.index]).split(".")[0]] += call.end - call.begin
        for module, ticks in spent.items():
            taken[module].append(ticks)
    medians = {module: statistics.median(ticks) for module, ticks in taken.items()}
    assert max(medians, key=lambda module: medians[module]) == "culprit"
