"""Flutter's plugin without a Dart SDK: its Rust runs, its Dart is parsed, and both have the same calls and types."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_dart

from harness.core.cache import Cache
from harness.native.apps.library import build_library
from harness.native.apps.manifest import read_manifest
from tests.mobile.conftest import LANGUAGE, ROOT, SCALED, WORDS, AppModels, Measured, harness, quiet
from tools import write_flutter

PLUGIN = ROOT / "bindings/flutter"
DART = sorted([*PLUGIN.glob("lib/**/*.dart"), *PLUGIN.glob("example/lib/*.dart")])
API = (PLUGIN / "rust/src/api.rs").read_text(encoding="utf-8")
RUST = (PLUGIN / "rust/src/frb_generated.rs").read_text(encoding="utf-8")
CALLED = PLUGIN / "lib/src/rust/frb_generated.dart"
KINDS = re.findall(r"^    (\w+),$", API.partition("pub enum ErrorKind {")[2].partition("\n}")[0], re.MULTILINE)


def parsed(path: Path) -> tree_sitter.Node:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_dart.language()))
    return parser.parse(path.read_bytes()).root_node


def nodes(root: tree_sitter.Node, kind: str) -> Iterator[tree_sitter.Node]:
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if one.type == kind:
            yield one
        waiting += one.children


def text(node: tree_sitter.Node | None) -> str:
    assert node is not None
    assert node.text is not None
    return node.text.decode()


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def functions() -> dict[str, int]:
    """The number of each function in the generated Rust."""
    return {name: int(at) for at, name in re.findall(r"(\d+) => wire__crate__api__(\w+)_impl", RUST)}


def test_nothing_changed_since_the_files_were_generated() -> None:
    assert list(write_flutter.differences()) == [], "make bindings"


@pytest.mark.parametrize("path", DART, ids=lambda path: path.name)
def test_the_dart_is_dart(path: Path) -> None:
    root = parsed(path)
    assert not root.has_error, path
    assert root.child_count > 3
    broken = path.read_text(encoding="utf-8").replace("{", "", 1).encode()
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_dart.language()))
    assert parser.parse(broken).root_node.has_error, "the grammar finds a missing brace"


def test_both_sides_have_the_same_classes_with_the_same_fields() -> None:
    classes: dict[str, set[str]] = {}
    for one in nodes(parsed(PLUGIN / "lib/src/rust/api.dart"), "class_definition"):
        names = re.findall(r"^\s*final [\w<>?]+ (\w+);", text(one), re.MULTILINE)
        classes[text(one.child_by_field_name("name"))] = set(names)
    structs = re.findall(r"^pub struct (\w+) \{\n(.*?)^\}", API, re.MULTILINE | re.DOTALL)
    expected = {name: {camel(one) for one in re.findall(r"pub (\w+):", fields)} for name, fields in structs}
    assert len(expected) >= 7
    opaque = {name: set[str]() for name in re.findall(r"^pub struct (\w+)\(", API, re.MULTILINE)}
    assert classes == expected | opaque


def test_both_sides_have_the_same_enums_and_those_of_the_crate() -> None:
    enums = {}
    for one in nodes(parsed(PLUGIN / "lib/src/rust/api.dart"), "enum_declaration"):
        constants = [text(each.child_by_field_name("name")) for each in nodes(one, "enum_constant")]
        enums[text(one.child_by_field_name("name"))] = sorted(constants)
    declared = re.findall(r"^pub enum (\w+) \{\n(.*?)^\}", API, re.MULTILINE | re.DOTALL)
    expected = {name: re.findall(r"^    (\w+),$", body, re.MULTILINE) for name, body in declared}
    assert enums == {name: sorted(one[0].lower() + one[1:] for one in body) for name, body in expected.items()}
    # The kinds stand in the order of the errors' numbers.
    header = (ROOT / "bindings/c/charsiug2p.h").read_text(encoding="utf-8")
    codes = re.findall(r"CHARSIUG2P_CODE_(\w+) = (\d+)", header)
    assert [(kind.lower(), at) for at, kind in enumerate(KINDS, 1)] == [
        (name.replace("_", "").lower(), int(number)) for name, number in codes if name != "OK"
    ]


def test_both_sides_call_the_same_functions_by_the_same_numbers() -> None:
    dart = CALLED.read_text(encoding="utf-8")
    calls = dict(re.findall(r"funcId: (\d+).*?debugName: \"(\w+)\"", dart, re.DOTALL))
    assert {name: int(at) for at, name in calls.items()} == functions()
    assert len(functions()) == 22
    [theirs], [ours] = (re.findall(pattern, source) for pattern, source in HASHES)
    assert theirs == ours


HASHES = (
    (r"rustContentHash => (-?\d+);", CALLED.read_text(encoding="utf-8")),
    (r"FLUTTER_RUST_BRIDGE_CODEGEN_CONTENT_HASH: i32 = (-?\d+);", RUST),
)


@pytest.fixture(scope="module")
def answers(
    app_models: AppModels, measured: Measured, user_cache: Cache, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What a program in the place of Dart got, with the records of its self-test."""
    library = build_library(app_models.archive, cache=user_cache, progress=quiet, stripped=True, flutter=True)
    out = tmp_path_factory.mktemp("from flutter") / "records.jsonl"
    program = Path(__file__).with_name("bridge.py")
    command = [sys.executable, *map(str, (program, library, json.dumps(functions()), measured.orders, out))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"records": out}


@pytest.mark.thorough
@pytest.mark.compiler
def test_the_generated_entry_points_answer_as_pytorch(answers: dict[str, Any], app_models: AppModels) -> None:
    words = [[at, word, found] for at, (word, found) in enumerate(zip(WORDS, app_models.phonemes, strict=True))]
    assert answers["phonemes"] == answers["streamed"] == words
    assert answers["stream ends"]
    assert answers["outputs"] == [["scaled", [2, 3], [2, 4, 6, 2, 2.5, 3]], ["sums", [2], [12, 7.5]]]
    assert answers["versions"][-1] == app_models.archive.sha256
    assert answers["hash"] == int(re.findall(*HASHES[0])[0])
    assert [(model["name"], model["kind"]) for model in answers["models"]] == [
        ("g2p", 1),
        ("tiny_llama", 2),
        ("scaled", 0),
    ]
    assert answers["models"][2]["inputs"][0] == ["x", 1, ["rows", 3]]
    assert [model["text"] for model in answers["models"]] == [[0, 0, False], [192, 256, False], [0, 0, False]]


@pytest.mark.thorough
@pytest.mark.compiler
def test_a_language_model_answers_through_the_bridge(answers: dict[str, Any]) -> None:
    prompt, generated = list(range(3, 90, 7)), answers["generated"]
    assert (generated["text"], generated["ended"], generated["stop"]) == ("", 0, 0)
    assert generated["counts"] == [len(prompt), len(prompt)]
    assert answers["talk"] == prompt + generated["tokens"]
    assert answers["pieces"] == [["", [token]] for token in generated["tokens"]]
    assert answers["pieces end"]


@pytest.mark.thorough
@pytest.mark.compiler
def test_what_goes_wrong_is_a_kind_and_a_message(answers: dict[str, Any]) -> None:
    kinds = {name: KINDS[at] for name, (at, _) in answers["failures"].items()}
    assert kinds == {
        "unknown": "UnknownModel",
        "word": "BadWord",
        "shape": "WrongShape",
        "stop": "BadOption",
        "full": "ContextFull",
        "cancelled": "Cancelled",
        "closed": "Closed",
    }
    assert "klingon" in answers["failures"]["word"][1]


@pytest.mark.thorough
@pytest.mark.compiler
def test_a_self_test_through_the_bridge_passes(answers: dict[str, Any], measured: Measured) -> None:
    orders, samples, failures = answers["self test"]
    assert (orders, samples > 0, failures) == (6, True, [])
    code, output = harness("selftest", "read", str(answers["records"]), "--run", measured.run.run_id, *measured.results)
    assert (code, output[:4]) == (0, "PASS"), output


@pytest.mark.thorough
@pytest.mark.compiler
def test_the_package_is_the_plugin_with_a_library_and_is_verified(tmp_path: Path, app_models: AppModels) -> None:
    out = tmp_path / "plugin"
    models = [f"--models={one}" for one in ("g2p", SCALED, LANGUAGE)]
    code, output = harness("package", "flutter", *models, "--output-dir", str(out))
    assert code == 0, output
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"pubspec.yaml", "README.md", "libraries/libcharsiug2p_flutter.so", "example/lib/main.dart"} <= found
    assert {path.relative_to(PLUGIN).as_posix() for path in PLUGIN.glob("lib/**/*.dart")} <= found
    assert not any(name.startswith("rust/") for name in found)
    assert read_manifest(out / "manifest.json").archive_sha256 == app_models.archive.sha256
    assert harness("verify", str(out))[0] == 0
    with (out / "lib/charsiug2p.dart").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert harness("verify", str(out)) == (1, "lib/charsiug2p.dart is another file than was packaged\n")
