"""An operator added from outside, by the two ways of docs/contributing/kernel.md, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from torch.export import Dim
from tvm import relax

from harness.compiler import operators
from harness.compiler.errors import BadExtension
from harness.compiler.front import compiler_identity
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.core.errors import ExitCode
from harness.models.functions import ModelFunction
from tests.compiler import quick_gelu
from tests.compiler.installed import install

pytestmark = pytest.mark.compiler

SOURCE = Path(quick_gelu.__file__)
PAGE = Path(__file__).parents[2] / "docs/contributing/kernel.md"


class Clip(nn.Module):
    """The feed-forward of CLIP's encoder, of a width that is no multiple of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(20, 37), nn.Linear(37, 20)

    def forward(self, x: Tensor) -> Tensor:
        y = self.wide(x)
        result: Tensor = self.narrow(y * torch.sigmoid(1.702 * y))
        return result


def package(folder: Path, value: str = "quick_gelu_kernels:QuickGeluOp", text: str | None = None) -> None:
    """An installed package with one operator."""
    source = SOURCE.read_text() if text is None else text
    install(folder, "quick_gelu_kernels", source, f"[harness.operators]\nquick-gelu = {value}\n")


def compiled(prefix: str) -> tuple[relax.VirtualMachine, list[str]]:
    """Clip for any number of rows on this machine, and the kernels that it calls."""
    torch.manual_seed(0)
    host, ops = resolve_target("llvm"), OpTable()
    function = ModelFunction("clip", Clip().eval(), (torch.zeros(2, 3, 20),), ({1: Dim("n", min=1, max=9)},))
    recipe = Recipe(host.profile, "fp32", prefix, ops)
    machine = relax.VirtualMachine(lower(import_function(function, ops), tvm_target(host), recipe), tvm.cpu())
    return machine, [call.kernel for call in recipe.sites]


@torch.no_grad()
@pytest.mark.parametrize("way", ["registered", "installed"])
def test_an_operator_from_outside_is_found_compiled_and_right(
    way: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "_registered", [])
    _, without = compiled(f"without_{way}_")
    assert not any("quick_gelu" in kernel for kernel in without)
    if way == "registered":
        operators.register(quick_gelu.QuickGeluOp)
    else:
        package(site)
    machine, kernels = compiled(f"with_{way}_")
    assert [kernel for kernel in kernels if "quick_gelu" in kernel] == ["quick_gelu_2xn0x37"]
    torch.manual_seed(0)
    module = Clip().eval()
    for length in (1, 8):
        x = torch.randn(2, length, 20) * 30
        ours = machine["main"](tvm.runtime.tensor(x.numpy())).numpy()
        np.testing.assert_allclose(ours, module(x).numpy(), rtol=1e-5, atol=1e-4)


def test_an_archive_is_compiled_again_when_an_operator_comes_or_changes(site: Path) -> None:
    before = compiler_identity()
    package(site)
    installed = compiler_identity()
    (site / "quick_gelu_kernels.py").write_text(SOURCE.read_text().replace("1.702", "1.703"))
    changed = compiler_identity()
    assert before != installed != changed != before


@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        ("quick_gelu_kernels:Missing", None, "'quick-gelu'.*cannot be imported.*Missing"),
        ("quick_gelu_kernels:FACTOR", None, "'quick-gelu'.*is no FusedOperator"),
        ("quick_gelu_kernels:QuickGeluOp", "import no_such_module", "cannot be imported.*no_such_module"),
        ("no_such_package:Op", None, "no_such_package"),
    ],
)
def test_what_is_no_operator_is_named(value: str, text: str | None, message: str, site: Path) -> None:
    package(site, value, text)
    assert compiler_identity()["operators"]
    with pytest.raises(BadExtension, match=message) as caught:
        operators.operators()
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_page_shows_this_operator() -> None:
    assert f"```python\n{SOURCE.read_text()}```" in PAGE.read_text(encoding="utf-8")
