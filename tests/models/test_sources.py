"""What ``--models`` names, and what cannot be in one archive together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.models import kinds
from harness.models.kinds import ModelsClash, WorkloadKind, check_clashes, open_workloads
from harness.models.options import ModelOptions
from harness.models.tensor.sources import UnknownModel, resolve_model
from harness.models.workload import Workload


def quiet(_text: str) -> None:
    pass


def test_every_name_is_opened_by_the_kind_that_it_belongs_to(monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    opened: list[tuple[str, Sequence[str]]] = []

    def kind(name: str, *names: str) -> WorkloadKind:
        def note(mine: Sequence[str], _options: object, _cache: object, _progress: object) -> list[Workload[Any]]:
            opened.append((name, mine))
            return []

        return WorkloadKind(name, note, names)

    monkeypatch.setattr(kinds, "workload_kinds", lambda: [kind("g2p", "g2p"), kind("speech", "asr"), kind("tensor")])
    open_workloads(ModelOptions(models=("detector", "asr", "mine.py")), cache=cache, progress=quiet)
    assert opened == [("speech", ["asr"]), ("tensor", ["detector", "mine.py"])]
    opened.clear()
    open_workloads(ModelOptions(), cache=cache, progress=quiet)
    assert opened == [("g2p", ["g2p"])]


def test_a_file_and_a_shipped_model_are_found(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")
    shipped, own = resolve_model("detector"), resolve_model(str(file))
    assert (shipped.label, shipped.path.name) == ("detector", "detector.py")
    assert (shipped.module, shipped.attribute) == ("harness.models.examples.detector", "MODEL")
    assert (own.label, own.path, own.module) == (str(file), file.resolve(), "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"max_input_bytes": 100_000}, "--max-input-bytes is 100000"),
        ({"max_output_len": -1}, "--max-output-len is -1"),
    ],
)
def test_impossible_sizes_name_the_option(cache: Cache, change: dict[str, int], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        open_workloads(ModelOptions(own=change), cache=cache, progress=quiet)


def test_an_installed_package_offers_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/__init__.py").write_text("")
    (tmp_path / "my_package/flowers.py").write_text("")
    facts = tmp_path / "my_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: my_package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[harness.models]\nflowers = my_package.flowers:MODEL\ngone = my_package.gone:MODEL\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = resolve_model("flowers")
    assert (found.module, found.attribute) == ("my_package.flowers", "MODEL")
    assert found.path == (tmp_path / "my_package/flowers.py").resolve()
    with pytest.raises(UnknownModel, match=r"my_package\.gone, which is not there"):
        resolve_model("gone")
    with pytest.raises(UnknownModel) as unknown:
        resolve_model("trees")
    assert "bert, byte-lm, detector, flowers, g2p, gone" in str(unknown.value)


def test_a_name_that_two_packages_offer_is_neithers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, name in (("one", "trees"), ("two", "trees"), ("three", "bert")):
        facts = tmp_path / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Name: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[harness.models]\n{name} = {package}:MODEL\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelsClash, match=r"'trees' is the name of several models: (one:MODEL, two|two:MODEL, one)"):
        resolve_model("trees")
    with pytest.raises(ModelsClash, match=r"examples\.bert:MODEL, three:MODEL\n  → give the Python file"):
        resolve_model("bert")


def test_a_file_that_is_not_there_and_a_name_given_twice(cache: Cache) -> None:
    with pytest.raises(UnknownModel, match=r"no file nowhere/mine\.py"):
        resolve_model("nowhere/mine.py")
    options = ModelOptions(models=("bert", "g2p", "bert"))
    with pytest.raises(ModelsClash, match="bert is given twice"):
        open_workloads(options, cache=cache, progress=quiet)


def test_names_and_prefixes_that_cannot_be_told_apart() -> None:
    check_clashes([("g2p", "g2p_"), ("bert", "bert_"), ("detector", "detector_")])
    for models, message in (
        ([("a", "a_"), ("a", "b_")], "two models are named 'a'"),
        ([("a", "x_"), ("b", "x_")], "'a' and 'b' have the same prefix 'x_'"),
        ([("g2p", "g2p_"), ("g2p_large", "g2p_large_")], "'g2p' and 'g2p_large' begin alike: 'g2p_' and 'g2p_large_'"),
        ([("long", "x_y_"), ("short", "x_")], "begin alike"),
    ):
        with pytest.raises(ModelsClash, match=message) as clash:
            check_clashes(models)
        assert 'prefix="other_"' in clash.value.cure
