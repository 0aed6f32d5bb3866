"""int8 weights that are rounded for their inputs, activations that keep 15 bits, and layers that are kept wide."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from harness.compiler.importer.calibrating import calibrated
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.importing import import_function
from harness.compiler.kernels.rounding import STEPS, WIDE_CREST, Calibration, LayerInputs, compensated
from harness.compiler.lower import lower, tvm_target
from harness.compiler.observe.provenance import Operator
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import Call, ModelFunction, ModelFunctions

pytestmark = pytest.mark.compiler

DEPTH, HIDDEN, WIDTH = 96, 160, 40
ROWS = 7
_numbers = itertools.count()


class Two(nn.Module):
    """Two layers. A column of the second has one weight that takes nearly all the steps of its scale."""

    def __init__(self, outlier: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(DEPTH, HIDDEN, bias=False), nn.Linear(HIDDEN, WIDTH, bias=False)
        with torch.no_grad():
            self.second.weight[:, 0] += outlier
            self.first.weight[0] *= 0 if outlier else 1

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(torch.relu(self.first(x)))
        return result


def usual_inputs(rows: int, seed: int) -> Tensor:
    """Return inputs that depend on a few numbers, as those of real layers do."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, DEPTH, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(rows, DEPTH, generator=generator)
    return torch.randn(rows, 6, generator=generator) @ mixing + 0.05 * noise


def answer(module: nn.Module, x: Tensor, *, usual: Tensor | None = None, keep_wide: Sequence[str] = ()) -> Tensor:
    """Return what the int8 archive of a module answers; ``usual`` are the inputs that it is calibrated with."""

    def calibrate(call: Call) -> None:
        assert usual is not None
        call("main", (usual,))

    function = ModelFunction("main", module.eval(), (x,), None)
    program = exported(function)
    model = ModelFunctions((function,), {}, None if usual is None else calibrate)
    found = calibrated(model, {"main": program})
    quality = Quality("int8", "main", keep_wide, found.get("main", Calibration()))
    host, ops = resolve_target("llvm"), OpTable()
    recipe = Recipe(host.profile, "int8", f"rounding{next(_numbers)}_", ops, quality=quality)
    executable = lower(import_function(function, ops, program), tvm_target(host), recipe)
    assert quality.used == set(keep_wide)
    result = relax.VirtualMachine(executable, tvm.cpu())["main"](tvm.runtime.tensor(x.numpy()))
    return torch.from_numpy(result.numpy())


def departure(module: nn.Module, x: Tensor, found: Tensor) -> float:
    with torch.no_grad():
        expected = module(x)
    return float((found - expected).square().mean().sqrt() / expected.square().mean().sqrt())


def plain(weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    scale = np.abs(weight).max(axis=0) / STEPS
    rounded: npt.NDArray[np.float32] = np.rint(weight / scale) * scale
    return rounded


def test_errors_are_made_up_for_on_the_usual_inputs_and_packing_keeps_the_steps() -> None:
    x = usual_inputs(400, seed=1).numpy().astype(np.float64)
    weight = np.random.default_rng(2).standard_normal((DEPTH, WIDTH)).astype(np.float32)
    found = compensated(weight, LayerInputs(x.T @ x / len(x), 1.0))
    fresh = usual_inputs(400, seed=5).numpy()
    errors = [float(np.square(fresh @ (one - weight)).mean()) for one in (found, plain(weight))]
    assert errors[0] < 0.2 * errors[1]
    np.testing.assert_allclose(plain(found), found, rtol=1e-6)
    np.testing.assert_array_equal(np.abs(found).max(axis=0), np.abs(weight).max(axis=0))


def test_a_column_of_zeros_and_inputs_that_never_occur_stay_finite() -> None:
    weight = np.random.default_rng(2).standard_normal((8, 3)).astype(np.float32)
    weight[:, 1] = 0
    assert np.isfinite(compensated(weight, LayerInputs(np.zeros((8, 8)), 1.0))).all()
    assert not compensated(weight, LayerInputs(np.eye(8), 1.0))[:, 1].any()


def test_calibration_makes_an_int8_model_closer() -> None:
    torch.manual_seed(3)
    module, x = nn.Linear(DEPTH, 400, bias=False), usual_inputs(1, seed=9)
    without, with_it = answer(module, x), answer(module, x, usual=usual_inputs(500, seed=1))
    assert departure(module, x, with_it) < 0.7 * departure(module, x, without)


def test_inputs_with_a_high_crest_keep_15_bits() -> None:
    """One element of each row is far larger than the others, and its weights are zeros: only small ones count."""
    module = nn.Linear(DEPTH, WIDTH, bias=False)
    with torch.no_grad():
        module.weight[:, 5] = 0

    def crested(rows: int, seed: int) -> Tensor:
        x = torch.randn(rows, DEPTH, generator=torch.Generator().manual_seed(seed))
        x[:, 5] = 400
        return x

    x = crested(ROWS, 1)
    usual = crested(500, 2)
    assert usual.square().amax(-1).div(usual.square().mean(-1)).mean() > WIDE_CREST
    assert departure(module, x, answer(module, x, usual=usual)) < 0.02


def test_a_layer_that_is_kept_wide_makes_the_difference() -> None:
    module, x = Two(outlier=300.0), usual_inputs(ROWS, seed=9)
    assert departure(module, x, answer(module, x)) > 0.1
    assert departure(module, x, answer(module, x, keep_wide=["second"])) < 0.02


@pytest.mark.parametrize(
    ("pattern", "wide"), [("up.*", True), ("step/linear_2", True), ("step/up*", True), ("u", False)]
)
def test_a_layer_is_named_by_its_module_or_its_node(pattern: str, wide: bool) -> None:
    layer = Operator(name="linear_2", target="aten.linear.default", module="up.0", kind="Linear")
    quality = Quality("int8", "step", [pattern])
    assert quality.of([layer]) == ("fp16" if wide else "int8")
    assert quality.used == ({pattern} if wide else set())
