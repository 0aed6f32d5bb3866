"""Convolutions of bytes against sums of whole numbers, and int8 models of them against PyTorch's roundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed
from torch.nn import functional as F
from tvm import relax

from harness.compiler.importer.calibrating import calibrated
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.given_grids import take_grids
from harness.compiler.importer.importing import import_function
from harness.compiler.importer.ranges import Seen, grid_of, grids
from harness.compiler.kernels.byte_convolution import MOST_OF_TWO, rounded_filters
from harness.compiler.kernels.dot import INSTRUCTIONS
from harness.compiler.kernels.rounding import Calibration
from harness.compiler.lower import lower, tvm_target
from harness.compiler.observe.provenance import Operator, Site
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.compiler.targets.profiles import AVX2, AVX512, AVX512_VNNI, NEON_DOT
from harness.models.functions import Call, ModelFunction, ModelFunctions
from harness.models.quantization import OBSERVERS, Observer
from harness.protocol.schema import Precision
from tests.compiler.byte_convolutions import SHAPES, check
from tests.compiler.kernels import normal, portable_four

pytestmark = pytest.mark.compiler

PROFILES = [AVX2, AVX512_VNNI, NEON_DOT]
assert _decomposed, "importing it registers torch's own operators"
Q = torch.ops.quantized_decomposed


@pytest.mark.thorough(keep=["*borders", "*filters*"])
@pytest.mark.parametrize(("at", "name"), list(enumerate(sorted(SHAPES))), ids=lambda v: v if isinstance(v, str) else "")
def test_shapes(at: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the tiles of one instruction set, and the next shape with those of the next."""
    profile = PROFILES[at % len(PROFILES)]
    monkeypatch.setitem(INSTRUCTIONS, "vnni", portable_four(signed=False))
    monkeypatch.setitem(INSTRUCTIONS, "sdot", portable_four(signed=True))
    check(profile, SHAPES[name])


@pytest.mark.parametrize("name", ["borders", "many filters"])
def test_any_filters_and_numbers_as_results(name: str) -> None:
    """Filters of ±127 next to bytes of 255: sums of two products do not fit into int16."""
    check(AVX2, SHAPES[name], zero=200, parts=True)
    check(AVX2, SHAPES[name], zero=0, result=False)


def test_no_sum_of_two_products_saturates() -> None:
    weight = normal(3, 3, 16, 40)
    weight[0, 0, :2] = np.abs(weight).max()
    steps, scale = rounded_filters(weight, AVX2)
    two = np.abs(steps[:, :, 0::2].astype(int)) + np.abs(steps[:, :, 1::2].astype(int))
    assert two.max() <= MOST_OF_TWO
    assert two[0, 0, 0].min() >= MOST_OF_TWO - 1
    assert np.abs(steps * scale - weight).max() <= 1.01 * scale.max()
    assert np.abs(rounded_filters(weight, AVX512_VNNI)[0]).max() == 127
    assert np.abs(rounded_filters(weight, AVX512)[0]).max() < 127


class Images(nn.Module):
    """A first layer of three channels, pools, a bottleneck by channel, residuals and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.wide, self.narrow = nn.Conv2d(16, 48, 1), nn.Conv2d(48, 16, 1)
        self.by_channel = nn.Conv2d(48, 48, 3, padding=1, groups=48)
        self.last, self.head = nn.Conv2d(16, 32, 3, 2, 1), nn.Linear(32, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.first(x), 3, 2, 1)
        y = self.narrow(F.relu6(self.by_channel(F.relu6(self.wide(x)))))
        z = F.hardswish(self.last(x + y))
        return self.head(z.mean((2, 3))), y


def _function(module: nn.Module, example: Tensor) -> ModelFunction:
    return ModelFunction("main", module.eval(), (example,), None)


def _compiled(
    function: ModelFunction,
    inputs: Sequence[Tensor],
    precision: Precision = "int8",
    observer: Observer = "mse",
    most_error: float = 1.0,
    keep_wide: Sequence[str] = (),
) -> tuple[Any, list[Site], Quality]:
    """The function for these usual inputs, its calls of kernels, and what became of its layers."""
    program = exported(function)
    given = take_grids(program)

    def calibrate(call: Call) -> None:
        for one in inputs:
            call("main", (one,))

    found = Calibration(grids=given.grids, scales=given.scales)
    if precision == "int8":
        model = ModelFunctions((function,), {}, calibrate, observer=observer, most_error=most_error)
        found = calibrated(model, {"main": program}, {"main": given})["main"]
    host, ops, sites = resolve_target("llvm"), OpTable(), list[Site]()
    quality = Quality(precision, keep_wide=keep_wide, calibration=found)
    recipe = Recipe(host.profile, precision, f"bytes{id(sites)}_", ops, sites=sites, quality=quality)
    module = import_function(function, ops, program)
    machine = relax.VirtualMachine(lower(module, tvm_target(host), recipe), tvm.cpu())["main"]

    def call(x: Tensor) -> list[Tensor]:
        given = machine(tvm.runtime.tensor(x.numpy()))
        return [torch.from_numpy(one.numpy()) for one in (given if isinstance(given, tvm.ir.Array) else [given])]

    return call, sites, quality


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.thorough(keep=["mse"])
@torch.no_grad()
@pytest.mark.parametrize("observer", OBSERVERS)
def test_bytes_stay_between_convolutions(observer: Observer) -> None:
    torch.manual_seed(0)
    module, x = Images().eval(), torch.randn(2, 1, 3, 32, 40)
    ours, sites, quality = _compiled(_function(module, x[0]), [x[0], x[1]], observer=observer)
    for found, exact in zip(ours(x[0]), module(x[0]), strict=True):
        assert 1e-4 < _distance(found, exact) < 0.03
    kernels = [site.kernel for site in sites]
    assert sum(name.startswith("conv_bytes_") for name in kernels) == 4, kernels
    # The picture, and both sides of the sum, which is no convolution's: y is a result, too.
    assert sum(name.startswith(("to_", "from_")) for name in kernels) == 3, kernels
    described = [one for one in quality.described(_nodes(quality)) if one.whole is not None]
    assert [one.kept for one in described] == [False] * 5
    assert all(0 < (one.whole or 0) < 0.03 for one in described)


def _nodes(quality: Quality) -> list[Operator]:
    return [Operator(name=name, target="", module="", kind="") for name in quality.calibration.costs]


class Outlier(nn.Module):
    """A channel so large that bytes have no steps for the others; the convolution behind it does not read it."""

    def __init__(self) -> None:
        super().__init__()
        first, second = nn.Conv2d(4, 16, 3), nn.Conv2d(16, 16, 3)
        with torch.no_grad():
            first.weight[3] *= 1000
            second.weight[:, 3] = 0
        self.steps = nn.Sequential(first, second, nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.steps(x)
        return found


@torch.no_grad()
def test_what_costs_most_stays_wide() -> None:
    torch.manual_seed(0)
    module, x = Outlier().eval(), torch.randn(1, 4, 16, 20)
    exact = module(x)
    all_eight, _, every = _compiled(_function(module, x), [x])
    ours, _, quality = _compiled(_function(module, x), [x], most_error=0.1)
    costs = quality.calibration.costs
    assert sorted(costs, key=lambda name: -costs[name].whole)[0] == "convolution_1"
    assert {name for name, cost in costs.items() if cost.kept} == {"convolution_1"}
    assert every.byte_layers - quality.byte_layers == {"convolution_1"}
    assert _distance(ours(x)[0], exact) < 0.05
    assert _distance(all_eight(x)[0], exact) > 0.2
    assert [one.kept for one in quality.described(_nodes(quality))].count(True) == 1


def test_kept_wide_by_name() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 32, 40)
    _, _, quality = _compiled(_function(Images(), x), [x], keep_wide=["wide", "convolution_4"])
    assert quality.byte_layers == {"convolution", "convolution_2", "convolution_3"}
    assert quality.used == {"wide", "convolution_4"}


class Given(nn.Module):
    """What torch's PT2E quantization makes of two convolutions with a residual, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.randint(-127, 128, (16, 8, 3, 3), dtype=torch.int8))
        self.register_buffer("second", torch.randint(-127, 128, (16, 16, 1, 1), dtype=torch.int8))
        self.register_buffer("third", torch.randint(-127, 128, (5, 16), dtype=torch.int8))
        for count in (5, 16):
            self.register_buffer(f"scales{count}", torch.rand(count) * 1e-3 + 1e-3)
            self.register_buffer(f"zeros{count}", torch.zeros(count, dtype=torch.int64))

    def _weight(self, steps: Any) -> Tensor:
        count = len(steps)
        found: Tensor = Q.dequantize_per_channel(
            steps, getattr(self, f"scales{count}"), getattr(self, f"zeros{count}"), 0, -127, 127, torch.int8
        )
        return found

    def forward(self, x: Tensor) -> Tensor:
        x = _pair(x, 0.03, 5)
        y = _pair(F.relu(F.conv2d(x, self._weight(self.first), padding=1)), 0.05, -128)
        pooled = _pair(F.max_pool2d(y, 2), 0.05, -128)
        z = _pair(F.relu(F.conv2d(pooled, self._weight(self.second)) + pooled), 0.06, -128)
        found: Tensor = F.linear(_pair(z.mean((2, 3)), 0.02, -128), self._weight(self.third))
        return found


def _pair(x: Tensor, scale: float, zero: int) -> Tensor:
    steps = Q.quantize_per_tensor(x, scale, zero, -128, 127, torch.int8)
    found: Tensor = Q.dequantize_per_tensor(steps, scale, zero, -128, 127, torch.int8)
    return found


@pytest.mark.thorough(keep=["int8"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_program_that_was_quantized_before(precision: Precision) -> None:
    """Its convolutions and its linear layer run on bytes, and agree with torch to less than a step."""
    torch.manual_seed(0)
    module, x = Given().eval(), torch.randn(1, 8, 12, 14)
    ours, sites, _ = _compiled(_function(module, x), [x], precision)
    with torch.no_grad():
        exact = module(x)
    assert _distance(ours(x)[0], exact) < 0.004
    kernels = [site.kernel for site in sites]
    assert sum(name.startswith("conv_bytes_") for name in kernels) == 2, kernels
    assert sum("_int8-" in name for name in kernels) == 1, kernels


def test_observers() -> None:
    """Most values lie between -1 and 1, a few at 8: the range shrinks, and 0 stays a byte."""
    counts = np.zeros(2048)
    middles = np.linspace(-1, 8, 2049)[:-1]
    counts[middles < 1] = 1000.0
    counts[-1] = 10.0
    seen = Seen(-1.0, 8.0, counts)
    found = {observer: grids({"x": seen}, observer)["x"] for observer in OBSERVERS}
    assert found["min-max"] == grid_of(-1.0, 8.0)
    assert found["mse"].scale < found["min-max"].scale
    assert found["percentile"].scale < found["min-max"].scale
    assert all(grid.zero * grid.scale == pytest.approx(1.0, rel=0.6) for grid in found.values())
    constant = replace(seen, low=0.0, high=0.0)
    assert grids({"x": constant, "y": replace(seen, high=float("inf"))}, "mse") == {}
    assert grid_of(0.0, 6.0).zero == 0
