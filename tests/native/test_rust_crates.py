"""The crates as packages, their docs, and the programs of the docs as a stranger's app outside of the workspace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.compiler import compile_models
from harness.core.cache import Cache
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.native import build_runtime
from harness.native.runner import link_variables
from tests.compile_requests import g2p_request, models_request

pytestmark = pytest.mark.compiler
ROOT = Path(__file__).parents[2]
G2P = "charsiug2p-g2p"
ORDER = [f"{G2P}-core", f"{G2P}-tokenizer", f"{G2P}-tvm", f"{G2P}-tvm-build", "charsiug2p-workload"]
ORDER += [f"{G2P}-pipeline", "charsiug2p-language", f"{G2P}-cli", "device-runner", "charsiug2p-mobile"]


def cargo(*arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run cargo without the variables of a developer's shell, which would link something into what is built."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("G2P_TVM_", "HARNESS_ARCHIVE"))}
    done = subprocess.run(
        ["cargo", *arguments], cwd=folder, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a ``.crate`` file of every package that another may depend on."""
    folder = tmp_path_factory.mktemp("packages")
    options = [
        "--workspace",
        "--exclude",
        "device-runner-program",
        "--no-verify",
        "--offline",
        "--allow-dirty",
        "--target-dir",
        str(folder),
    ]
    cargo("package", *options)
    return folder / "package"


def test_every_crate_can_be_packaged_with_its_readme_and_licence(packaged: Path) -> None:
    found = {path.name: path for path in packaged.glob("*.crate")}
    assert len(found) == len(ORDER)
    for name in (f"{package}-0.1.0" for package in ORDER):
        with tarfile.open(found[f"{name}.crate"]) as archive:
            files = {member.name.removeprefix(f"{name}/") for member in archive.getmembers()}
        assert {"Cargo.toml", "README.md", "LICENSE"} <= files
        assert not [file for file in files if file.startswith("tests/")]


@pytest.mark.thorough
def test_a_build_script_finds_everything_it_reads_in_its_package(packaged: Path, user_cache: Cache) -> None:
    """Unpacked away from the checkout: cargo's own check of each package, without its network."""
    folder = packaged.parent / "unpacked"
    for path in packaged.glob("*.crate"):
        # Not tarfile: Debian 12's Python warns without a filter and has none.
        folder.mkdir(exist_ok=True)
        # The files are as old as this run (-m). A package's are as old as the format, and cargo, whose output folder is
        # kept, would take an older build of the crate for that of these files.
        subprocess.run(["tar", "-xmzf", str(path), "-C", str(folder)], check=True)
    members = sorted(one.name for one in folder.iterdir())
    patches = "\n".join(f'{name.removesuffix("-0.1.0")} = {{ path = "{name}" }}' for name in members)
    (folder / "Cargo.toml").write_text(
        f'[workspace]\nresolver = "2"\nmembers = {json.dumps(members)}\n[patch.crates-io]\n{patches}\n'
    )
    shutil.copy(ROOT / "Cargo.lock", folder)
    cargo("check", "--workspace", "--offline", "--target-dir", str(user_cache.root / "cargo/checked"), folder=folder)


def test_what_can_be_published_depends_on_nothing_that_cannot() -> None:
    packages = json.loads(cargo("metadata", "--locked", "--no-deps", "--format-version", "1").stdout)["packages"]
    published = {one["name"]: one for one in packages if one["publish"] is None}
    assert sorted(published) == sorted(ORDER)
    done: set[str] = set()
    for name in ORDER:
        one = published[name]
        ours = {d["name"]: d["req"] for d in one["dependencies"] if d.get("path")}
        assert ours.keys() <= done, f"{name} is published before what it needs"
        assert set(ours.values()) <= {"^0.1.0"}
        exact = [d["name"] for d in one["dependencies"] if d["req"].startswith("=")]
        assert not exact, "an app could not have another version of these beside it"
        assert one["description"]
        assert one["license"] == "Apache-2.0"
        done.add(name)
    needed = {d["name"] for d in published["charsiug2p-workload"]["dependencies"] if d["kind"] is None}
    assert needed == {"serde"}, "an app that links the crate of a kind of workload gets nothing else of the runner"


@pytest.mark.thorough
def test_the_crates_docs_have_no_warnings(user_cache: Cache) -> None:
    target = str(user_cache.root / "cargo/checked")
    options = ["--workspace", "--no-deps", "--locked", "--offline", "--target-dir", target]
    cargo("doc", *options, RUSTDOCFLAGS="-D warnings")


ONLY_TENSORS = """[package]
name = "app"
version = "0.1.0"
edition = "2021"

[dependencies]
charsiug2p-g2p-tvm = { path = "…/rust/g2p_tvm" }
"""


def app(folder: Path, manifest: str, program: str) -> None:
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "Cargo.toml").write_text(manifest.replace("…", str(ROOT)) + "\n[workspace]\n")
    (folder / "src/main.rs").write_text(program)
    # The versions that are downloaded already.
    shutil.copy(ROOT / "Cargo.lock", folder)


def block(page: str, heading: str, language: str) -> str:
    """The first code block of a language below a heading of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1]
    match = re.search(rf"^```{language}\b[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


Run = Callable[[str, str, Path, str], str]


@pytest.fixture
def run_app(tmp_path: Path, user_cache: Cache) -> Run:
    """Build an app of a manifest and a program beside an archive with its prefix, run it, and return what it prints."""

    def run(manifest: str, program: str, archive: Path, prefix: str) -> str:
        app(tmp_path, manifest, program)
        variables = link_variables(archive, prefix, build_runtime(cache=user_cache, progress=quiet))
        target = str(user_cache.root / "cargo/apps")
        done = cargo("run", "--quiet", "--offline", "--target-dir", target, folder=tmp_path, **variables)
        assert done.stderr == ""
        return done.stdout

    return run


def test_the_app_of_the_docs_answers_as_pytorch(run_app: Run, user_cache: Cache) -> None:
    embedded = resolve_checkpoint("embedded", cache=user_cache)
    archive = compile_models(g2p_request(embedded), cache=user_cache, progress=quiet)
    output = run_app(
        block("rust.md", "In an app", "toml"),
        block("rust.md", "In an app", "rust"),
        archive.path,
        archive.metadata.prefix_base,
    )
    words = [Word("eng-us", "Char", ()), Word("eng-us", "siu", ())]
    expected = reference_outputs(embedded, words, ReferenceOptions(), cache=user_cache, progress=quiet)
    assert output.splitlines() == [item.text for item in expected.items]


@pytest.mark.thorough
def test_the_app_of_a_tensor_workload_answers_as_pytorch(run_app: Run, user_cache: Cache, tmp_path: Path) -> None:
    source = tmp_path / "flowers.py"
    source.write_text(block("tutorials/your-own-model.md", "1. Describe the model", "python"))
    models = describe_models([ModelSource("flowers.py", source)], cache=user_cache, progress=quiet)
    archive = compile_models(models_request(models), cache=user_cache, progress=quiet)
    output = run_app(
        ONLY_TENSORS, block("your-model.md", "Call it from Rust", "rust"), archive.path, archive.metadata.prefix_base
    )
    script = "import flowers, torch; print(flowers.build()(torch.tensor([[5.1, 3.5, 1.4, 0.2]])).tolist()[0])"
    expected = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert torch.allclose(torch.tensor(json.loads(output)), torch.tensor(json.loads(expected)), rtol=1e-4, atol=1e-5)


def quiet(_text: str) -> None:
    pass
