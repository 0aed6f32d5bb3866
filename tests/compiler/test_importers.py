"""An importer entry added from outside, as docs/contributing/importer.md says, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from torch.export import Dim
from tvm import relax

from harness.compiler.errors import BadExtension, UnsupportedOperator
from harness.compiler.front import compiler_identity
from harness.compiler.importer.converters import converters
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.core.errors import ExitCode
from harness.models.functions import ModelFunction
from tests.compiler.installed import install

pytestmark = pytest.mark.compiler

TOY = Path(__file__).parent / "distances.py"
PAGE = (Path(__file__).parents[2] / "docs/contributing/importer.md").read_text(encoding="utf-8")
NAME = "_cdist_forward.default"


class Nearest(nn.Module):
    """The distance of each row to each of five codes: a vector quantizer's."""

    def __init__(self, norm: float) -> None:
        super().__init__()
        self.norm, self.codes = norm, nn.Parameter(torch.randn(5, 19))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.codes, p=self.norm)


def package(folder: Path, entries: str = f"{NAME} = my_distances:distances", text: str | None = None) -> None:
    """An installed package with these entries."""
    source = TOY.read_text(encoding="utf-8") if text is None else text
    install(folder, "my_distances", source, f"[harness.importers]\n{entries}\n")


def imported(module: nn.Module, ops: OpTable) -> tvm.IRModule:
    """The module for any number of rows."""
    rows = ({1: Dim("n", min=1, max=9)},)
    return import_function(ModelFunction("nearest", module.eval(), (torch.zeros(2, 3, 19),), rows), ops)


def test_the_page_shows_this_entry_and_how_it_is_named() -> None:
    assert f"```python\n{TOY.read_text(encoding='utf-8')}```" in PAGE
    assert f'"{NAME}" = "my_package.distances:distances"' in PAGE
    assert '[project.entry-points."harness.importers"]' in PAGE


@torch.no_grad()
@pytest.mark.parametrize("norm", [1.0, 2.0])
def test_an_entry_of_a_package_is_found_compiled_and_right(norm: float, site: Path) -> None:
    torch.manual_seed(0)
    module, host, ops = Nearest(norm).eval(), resolve_target("llvm"), OpTable()
    package(site)
    recipe = Recipe(host.profile, "fp32", f"cdist_{norm:g}_", ops)
    machine = relax.VirtualMachine(lower(imported(module, ops), tvm_target(host), recipe), tvm.cpu())
    for length in (1, 8):
        x = torch.randn(2, length, 19)
        ours = machine["main"](tvm.runtime.tensor(x.numpy())).numpy()
        np.testing.assert_allclose(ours, module(x).numpy(), rtol=1e-5, atol=1e-5)


def test_what_an_entry_refuses_is_named_with_the_line_that_uses_it(site: Path) -> None:
    package(site)
    line = r"test_importers\.py.*torch\.cdist.*"
    with pytest.raises(UnsupportedOperator, match=rf"{NAME} .*{line}distances of the norm 3; there are 1 and 2"):
        imported(Nearest(3.0), OpTable())


def test_an_entry_is_taken_where_the_operator_would_be_written_with_others(site: Path) -> None:
    class Often(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.mode(x)[0]

    assert "R.where(" in imported(Often(), OpTable()).script()
    package(
        site,
        "mode.default = my_distances:both",
        "from tvm import relax\n\n\ndef both(node, importer, table):\n"
        "    x = importer.block_builder.emit(relax.op.max(importer.env[node.args[0]], -1))\n    return x, x",
    )
    taken = imported(Often(), OpTable()).script()
    assert "R.where(" not in taken
    assert "R.max(" in taken


def test_an_archive_is_compiled_again_when_an_entry_comes_or_changes(site: Path) -> None:
    before = compiler_identity()
    package(site)
    installed = compiler_identity()
    (site / "my_distances.py").write_text(TOY.read_text(encoding="utf-8").replace("norm == 1.0", "norm == 1"))
    changed = compiler_identity()
    assert before != installed != changed != before


def test_a_module_of_a_namespace_package_is_part_of_the_cache_key_too(site: Path) -> None:
    package(site, f"{NAME} = my_company.distances:distances")
    source = site / "my_company/distances.py"
    source.parent.mkdir()
    source.write_text(TOY.read_text(encoding="utf-8"))
    before = compiler_identity()["importers"]
    source.write_text("")
    assert compiler_identity()["importers"] != before


@pytest.mark.parametrize(
    ("entries", "text", "message"),
    [
        (f"{NAME} = my_distances:missing", None, "cannot be imported.*missing"),
        (f"{NAME} = my_distances:NUMBER", "NUMBER = 3", "is no function"),
        (f"{NAME} = my_distances:distances", "import no_such_module", "cannot be imported.*no_such_module"),
        (f"{NAME} = no_such_package:distances", None, "cannot be imported.*no_such_package"),
        ("elu.default = my_distances:distances", None, "is there already, in harness.compiler.importer.converters"),
        ("store_memory.default = my_distances:distances", None, "is there already, in harness.*store_memory"),
    ],
)
def test_what_cannot_be_used_is_named(entries: str, text: str | None, message: str, site: Path) -> None:
    package(site, entries, text)
    assert compiler_identity()["importers"]
    with pytest.raises(
        BadExtension, match=f"'{re.escape(entries.split()[0])}' .*harness.importers.*{message}"
    ) as caught:
        converters(OpTable())
    assert caught.value.exit_code is ExitCode.USAGE
    assert "uninstall or mend the package" in caught.value.cure


def test_two_packages_that_offer_an_entry_for_one_operator_are_refused(site: Path) -> None:
    package(site)
    source = TOY.read_text(encoding="utf-8")
    install(site, "other_distances", source, f"[harness.importers]\n{NAME} = other_distances:distances\n")
    with pytest.raises(BadExtension, match=r"\(other_distances:distances\) is there already, in my_distances"):
        converters(OpTable())
