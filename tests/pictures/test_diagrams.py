"""The diagrams name what the code has, and the committed files are those that the tools write."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.measure import GateVerdict
from harness.measure.gate import Outcome
from tools.diagrams import architecture, gate, kernel, order
from tools.diagrams.drawing import SCALE, WIDTH, Drawing
from tools.kernel_stages import LISTINGS, PAGE, filled, kernel_excerpt, relax_excerpt
from tools.write_diagrams import FOLDER, diagrams

# Python 3.10 has no tomllib; there pytest brings tomli.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
NAMES = sorted(diagrams())


def words_of(svg: str, style: str = "") -> list[str]:
    texts = ElementTree.fromstring(svg).iter(f"{SVG}text")
    return [text.text or "" for text in texts if not style or text.attrib.get("class") == style]


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_diagram_is_the_one_that_is_drawn(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == diagrams()[name], "run python -m tools.write_diagrams"


def test_no_other_diagram_is_committed() -> None:
    assert sorted(file.name for file in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_diagram_loads_nothing_and_has_a_name_for_who_cannot_see_it(name: str) -> None:
    text = diagrams()[name]
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title")
    assert len(root.findtext(f"{SVG}desc") or "") > 100
    without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|<script|href|@import|url\((?!#)", without_namespace)
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_diagram_can_be_read_at_390_pixels(name: str) -> None:
    root = ElementTree.fromstring(diagrams()[name])
    assert float(root.attrib["width"]) == WIDTH * SCALE
    # A page leaves 358 pixels of 390, and the smallest letters have to keep 8 of them.
    least = min(float(text.attrib["font-size"]) for text in root.iter(f"{SVG}text"))
    assert least * 358 / WIDTH >= 8


def test_the_layers_are_those_of_the_contract() -> None:
    [contract, *_] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [" | ".join(layer.rooms) for layer in architecture.layers()]
    assert layers == contract["layers"]
    drawn = words_of(architecture.architecture(), style="mono bold")
    assert [text.replace(" · ", " | ") for text in drawn] == layers


def test_every_room_has_one_colour() -> None:
    rooms = [room for layer in architecture.layers() for room in layer.rooms]
    assert sorted(rooms) == sorted(room for rooms in architecture.COLOURS.values() for room in rooms)
    for layer in architecture.layers():
        assert len({architecture.colour_of(room) for room in layer.rooms}) == 1, layer


def test_every_state_and_verdict_of_the_gate_is_drawn() -> None:
    drawn = words_of(gate.gate())
    for verdict in GateVerdict:
        assert verdict.value.upper() in drawn
    labels = [label for _, _, ways, _ in gate.steps() for label, _ in ways] + [on for *_, on in gate.steps()]
    for outcome in Outcome:
        assert any(outcome.value in label for label in labels), outcome
    assert set(labels) - {""} <= set(drawn)


def modules(text: str) -> list[str]:
    return re.findall(r"[\w/]+\.(?:py|rs)", text)


@pytest.mark.parametrize("code", [step[3] for step in (*order.STEPS, *kernel.STEPS) if step[3]])
def test_every_module_of_a_diagram_exists_and_has_what_is_named(code: str) -> None:
    for line in code.split("\n"):
        path, _, name = line.partition(" · ")
        file = ROOT / path if path.endswith(".rs") else ROOT / "harness" / path
        assert file.is_file(), path
        for part in name.split("."):
            assert part in file.read_text(encoding="utf-8"), (path, part)


PAGES = sorted((ROOT / "docs/explanation").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_an_explanation_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:harness|tests|tools|benchmarks|device_runner)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    passes = re.findall(r"`(p\d\d_\w+\.py)`", text)
    assert [name for name in passes if not (ROOT / "harness/compiler/passes" / name).is_file()] == []


def test_some_explanations_name_files() -> None:
    assert sum("`harness/" in page.read_text(encoding="utf-8") for page in PAGES) >= 6


def test_the_page_about_kernels_has_the_listings_of_the_last_compile() -> None:
    page, listings = PAGE.read_text(encoding="utf-8"), json.loads(LISTINGS.read_text(encoding="utf-8"))
    assert filled(page, listings) == page
    with pytest.raises(ValueError, match="no place for the listing 'graph'"):
        filled("", {"graph": ""})


def test_an_excerpt_leaves_types_and_options_out() -> None:
    line = '            lv2: R.Tensor((8, 64), dtype="float32") = R.matmul(lv, lv1, out_dtype="float32")\n'
    assert relax_excerpt(line) == "lv2 = R.matmul(lv, lv1)"
    constant = '    lv: R.Tensor((8,), dtype="float32") = R.add(lv0, metadata["ir.GenericConst"][3])'
    assert relax_excerpt(constant) == "lv = R.add(lv0, const3)"
    loop = "for v in range(2):\n    v_1: T.let[T.float32x4] = x\n    T.prefetch(v)\n"
    assert "T.let" not in kernel_excerpt('weight: T.Buffer((4, 64, 16), "float32")\n' + loop)


def test_a_listing_that_is_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match="has more than"):
        Drawing("", "").listing(0, 0, WIDTH, "x" * 100)
