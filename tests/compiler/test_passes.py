"""The order of the passes is that of their files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tvm

from harness.compiler import passes
from harness.compiler.lower import tvm_target
from harness.compiler.objects import WeightFile
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe, pipeline
from harness.compiler.schedule.tuning import Tuning
from harness.compiler.targets import resolve_target

pytestmark = pytest.mark.compiler

FILES = sorted(Path(passes.__file__).parent.glob("p[0-9]*.py"))


def test_the_files_stand_in_the_order_of_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def sequential(whole: list[Any]) -> Any:
        ran.extend(str(one.info.name) for one in whole)
        return lambda module: module

    monkeypatch.setattr(tvm.transform, "Sequential", sequential)
    target = resolve_target("llvm")
    with (tmp_path / "weights").open("wb") as stream:
        recipe = Recipe(target.profile, "fp32", "p_", OpTable(), weights=WeightFile("w", stream))
        pipeline(tvm_target(target), recipe, Tuning(tmp_path, 1, lambda _text: None))(tvm.IRModule({}))
    names = [re.findall(r'module_pass\(opt_level=0, name="(\w+)"\)', file.read_text()) for file in FILES]
    assert all(len(found) == 1 for found in names)
    ours = [name for (name,) in names]
    assert [name for name in dict.fromkeys(ran) if name in ours] == ours
