"""What depends on weights alone is computed by PyTorch before anything is compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from harness.compiler.importer.constants import GROWN
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.observe.profiling import Marks
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import ModelFunction
from tests.compiler.compiled import answers, compiled

pytestmark = pytest.mark.compiler


class Positions(nn.Module):
    """Scores against a table of positions behind its projection, as Conformers have them, with a mask."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(32, 32)
        self.register_buffer("table", torch.linspace(-1, 1, 40 * 32).reshape(40, 32))

    def forward(self, x: Tensor) -> Tensor:
        positions = self.project(self.table[8:24]).relu()
        mask = torch.arange(16)[None, :] <= torch.arange(16)[:, None]
        return torch.where(mask, x @ positions.transpose(0, 1), -1.0)


class Varied(nn.Module):
    """Counts its calls in a buffer, adds noise, fills a large tensor, and multiplies by a complex spectrum."""

    calls: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("weight", torch.linspace(0, 1, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.calls += 1
        large = torch.ones(GROWN // 4 + 1)
        spectrum = torch.fft.rfft(self.weight * 2)
        return x + self.calls + torch.rand(8), large * x[0], torch.view_as_real(spectrum * x[0])


def operators(program: ExportedProgram) -> list[str]:
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_only_operators_that_read_an_input_are_left() -> None:
    torch.manual_seed(0)
    module, x = Positions().eval(), torch.randn(16, 32)
    function = ModelFunction("main", module, (x,), None)
    program = exported(function)
    assert operators(program) == ["aten.permute.default", "aten.mm.default", "aten.where.self"]
    with torch.inference_mode():
        expected = answers(module, x)
    np.testing.assert_array_equal(program.module()(x).detach().numpy(), expected[0])
    np.testing.assert_allclose(compiled(module, (x,))(x)[0], expected[0], atol=1e-5)


class Chained(nn.Module):
    """One constant is read as it is, and another one is computed from it."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        double = self.scale * 2
        return x * double + x[:1] / (double + 1)


def test_a_constant_may_be_computed_from_another() -> None:
    module, x = Chained().eval(), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    program = exported(ModelFunction("main", module, (x,), None))
    assert len([name for name in operators(program) if name in ("aten.mul.Tensor", "aten.add.Tensor")]) == 2
    np.testing.assert_array_equal(program.module()(x).detach().numpy(), answers(module, x)[0])


def test_what_differs_from_call_to_call_stays() -> None:
    """Random numbers, buffers that are written, and constants that are complex or large without weights."""
    names = operators(exported(ModelFunction("main", Varied().eval(), (torch.zeros(8),), None)))
    assert sum(name == "aten.add.Tensor" for name in names) == 3, names
    for part in ("rand", "full", "fft"):
        assert any(part in name for name in names), names


@pytest.mark.parametrize("target", ["android-arm64", "x86-64-v3"])
@pytest.mark.parametrize("instrumentation", [None, Marks("positions_profile_")], ids=["plain", "profiled"])
def test_kernels_are_not_run_by_the_compiler(target: str, instrumentation: Marks | None) -> None:
    """The product of the table is a kernel with the target's own instructions, or with calls that only a runner has.
    When it was folded while compiling, the process died."""
    there, ops = resolve_target(target), OpTable()
    module = import_function(ModelFunction("main", Positions().eval(), (torch.zeros(16, 32),), None), ops)
    recipe = Recipe(there.profile, "int8", "positions_", ops, instrumentation=instrumentation)
    assert lower(module, tvm_target(there), recipe) is not None
