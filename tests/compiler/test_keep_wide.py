"""Which patterns of layers are refused: a request's that matches no model, and a model's own that misses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.compiler import Archive, CompileRequest, front
from harness.compiler.errors import NoSuchLayer
from harness.compiler.metadata import ArchiveMetadata
from harness.compiler.observe.provenance import FunctionProvenance, Operator, Provenance, write_provenance
from harness.models.workload import Compilable
from harness.results.schema import WideLayer


def archive(folder: Path, name: str, matched: Sequence[str]) -> Archive:
    """Return an archive of a model with two layers; ``matched`` are the patterns that matched one of them."""
    folder.mkdir()
    operators = [
        Operator(name=f"linear_{at}", target="aten.linear.default", module=module, kind="Linear")
        for at, module in enumerate(("up", "down"))
    ]
    relu = Operator(name="relu", target="aten.relu.default", module="act", kind="ReLU")
    function = FunctionProvenance(model=name, name=name, operators=[*operators, relu], sites=[])
    write_provenance(folder, Provenance(functions=[function]))
    return Archive(folder, ArchiveMetadata.model_construct(keep_wide=list(matched)))


def compilable(name: str, *keep_wide: str) -> Compilable:
    return Compilable(name, "tensor", f"{name}_", (), "", {}, {}, keep_wide=keep_wide)


def checked(tmp_path: Path, given: Sequence[str], own: Sequence[str] = ()) -> None:
    models = [compilable("left", *own), compilable("right")]
    archives = [archive(tmp_path / "left", "left", ["up", "left/*"]), archive(tmp_path / "right", "right", ["up"])]
    front._check_layers(CompileRequest(models, keep_wide=given), archives)


def test_a_pattern_that_matches_in_one_model_of_a_bundle_is_enough(tmp_path: Path) -> None:
    checked(tmp_path, ["left/*", "up"], own=["up"])


def test_a_pattern_that_matches_no_model_is_refused_with_the_names_of_layers(tmp_path: Path) -> None:
    with pytest.raises(NoSuchLayer, match="--keep-wide nowhere matches no layer of left or right") as refused:
        checked(tmp_path, ["up", "nowhere"])
    assert refused.value.cure == "its layers are left/up, left/down, right/up, right/down …"


def test_a_models_own_pattern_has_to_match_in_that_model(tmp_path: Path) -> None:
    with pytest.raises(NoSuchLayer, match="keep_wide='right/up' of left matches no layer of left"):
        checked(tmp_path, [], own=["right/up"])


def test_an_option_is_quoted_for_a_shell() -> None:
    assert WideLayer(workload="m", layer="m/a*b", error=0.1).option == "--keep-wide 'm/a*b'"
