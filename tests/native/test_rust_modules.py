"""Rust's modules depend downwards, and of the runner only its list of kinds names a kind of workload."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "device_runner/src"
CRATES = [*sorted(ROOT.glob("rust/*/src")), RUNNER, ROOT / "device_runner/program/src"]


def modules(source: Path) -> dict[str, set[str]]:
    """Return for each module of a crate the others that it uses, tests left out; submodules count as theirs."""
    uses: dict[str, set[str]] = {}
    for path in source.rglob("*.rs"):
        module = path.relative_to(source).with_suffix("").parts[0]
        if module in ("lib", "main"):
            continue
        text = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests")[0]
        named = re.findall(r"\bcrate::(\{[^}]*\}|\w+)", text)
        found = {name for one in named for name in re.findall(r"\w+", one)}
        uses.setdefault(module, set()).update(found - {module})
    return {module: found & set(uses) for module, found in uses.items()}


@pytest.mark.parametrize("source", CRATES, ids=lambda path: path.parent.name)
def test_no_modules_use_each_other_in_a_circle(source: Path) -> None:
    list(TopologicalSorter(modules(source)).static_order())


def test_only_the_list_of_kinds_names_a_kind_of_workload() -> None:
    uses = modules(RUNNER)
    assert {module for module, used in uses.items() if "tensor" in used} == {"kinds"}
    naming = {
        path.stem for path in RUNNER.glob("*.rs") if re.search(r"charsiug2p_g2p_(?!tvm\b)", path.read_text("utf-8"))
    }
    assert naming == {"kinds"}


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.rs").write_text("use crate::{b, c};\n")
    (tmp_path / "b.rs").write_text("use crate::a::Thing;\n")
    with pytest.raises(CycleError):
        list(TopologicalSorter(modules(tmp_path)).static_order())
