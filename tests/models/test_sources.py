"""What ``--models`` names, and what cannot be in one archive together."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.models.tensor.sources import ModelsClash, UnknownModel, check_clashes, resolve_model, split_models


def test_files_shipped_models_and_g2p_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")
    speaks, sources = split_models(["detector", "g2p", str(file)])
    assert speaks
    assert [source.label for source in sources] == ["detector", str(file)]
    assert sources[0].path.name == "detector.py"
    assert (sources[0].module, sources[0].attribute) == ("harness.models.examples.detector", "MODEL")
    assert (sources[1].path, sources[1].module) == (file.resolve(), "")


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
    assert "bert, detector, flowers, g2p, gone" in str(unknown.value)


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


def test_a_file_that_is_not_there_and_a_name_given_twice() -> None:
    with pytest.raises(UnknownModel, match=r"no file nowhere/mine\.py"):
        resolve_model("nowhere/mine.py")
    with pytest.raises(ModelsClash, match="bert is given twice"):
        split_models(["bert", "g2p", "bert"])


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
