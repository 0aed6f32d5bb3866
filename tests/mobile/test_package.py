"""`harness package c|kotlin` and `harness verify`: what is in a folder, and what is found in one that was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache, hash_file
from harness.native.apps.contents import archive_contents
from harness.native.apps.manifest import read_manifest
from tests.mobile.conftest import LANGUAGE, WORDS, AppModels
from tests.mobile.test_c import damage

load_commands()
pytestmark = pytest.mark.compiler
SCALED = Path(__file__).with_name("scaled_model.py")
LIBRARY = "libcharsiug2p_mobile.so"
STORED = Path(__file__).parents[1] / "report/golden/gated/runs"
"""The results of one run of another model."""


def harness(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> Path:
    """Packaged over an older package."""
    out = tmp_path_factory.mktemp("packaged") / "for c"
    out.mkdir()
    (out / "manifest.json").touch()
    (out / "older").touch()
    models = ["--models", "g2p", "--models", str(SCALED), "--models", LANGUAGE]
    code, text = harness("package", "c", *models, "--output-dir", str(out))
    assert code == 0, text
    return out


def test_the_folder_holds_what_an_app_needs_and_nothing_else(packaged: Path, app_models: AppModels) -> None:
    manifest = read_manifest(packaged / "manifest.json")
    found = {path.relative_to(packaged).as_posix() for path in packaged.rglob("*") if path.is_file()}
    assert found == {*manifest.files, "manifest.json"}
    assert found == {
        f"lib/{LIBRARY}",
        "include/charsiug2p.h",
        "example.c",
        "example_text.c",
        "system_lib_metadata.json",
        "licences/LICENSE",
        "licences/NOTICE",
        "licences/THIRD_PARTY_NOTICES.md",
        "manifest.json",
    }
    assert {name: hash_file(packaged / name) for name in manifest.files} == {
        name: file.sha256 for name, file in manifest.files.items()
    }
    metadata = json.loads((packaged / "system_lib_metadata.json").read_text())
    assert manifest.archive_sha256 == metadata["archive_sha256"] == app_models.archive.sha256
    assert manifest.models == ["g2p", "tiny_llama", "scaled"]
    assert manifest.contents == archive_contents(app_models.archive.path)
    # The symbols of the unstripped library are megabytes of C++ names.
    assert (packaged / "lib" / LIBRARY).stat().st_size < app_models.library.stat().st_size - (1 << 20)


def test_the_example_of_the_folder_runs_with_its_library(packaged: Path, app_models: AppModels, tmp_path: Path) -> None:
    flags = [f"-I{packaged}/include", f"-L{packaged}/lib", "-lcharsiug2p_mobile", f"-Wl,-rpath,{packaged}/lib"]
    program = str(tmp_path / "example")
    subprocess.run(["cc", str(packaged / "example.c"), *flags, "-o", program], check=True)
    done = subprocess.run([program, "eng-us", *WORDS], capture_output=True, text=True, check=True)
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == app_models.phonemes


def test_a_package_as_it_was_written_is_verified(packaged: Path) -> None:
    code, text = harness("verify", str(packaged))
    assert code == 0, text
    assert "g2p, tiny_llama, scaled as compiled" in text
    code, text = harness("verify", str(packaged), "--json")
    document = json.loads(text)
    assert (code, document["schema"], document["faults"]) == (0, "harness.verified/1", [])
    assert document["models"] == ["g2p", "tiny_llama", "scaled"]


def changed(packaged: Path, tmp_path: Path, change: Callable[[Path], object]) -> tuple[int, list[str]]:
    """Verify a copy after a change of it."""
    copy = tmp_path / "copy"
    shutil.copytree(packaged, copy)
    change(copy)
    code, text = harness("verify", str(copy))
    return code, text.splitlines()


def test_every_change_of_a_package_is_found(packaged: Path, tmp_path: Path) -> None:
    code, lines = changed(packaged, tmp_path / "1", lambda copy: (copy / "include/charsiug2p.h").write_text(""))
    assert (code, lines) == (1, ["include/charsiug2p.h is another file than was packaged"])
    code, lines = changed(packaged, tmp_path / "2", lambda copy: (copy / "example.c").unlink())
    assert (code, lines) == (1, ["example.c is missing"])


def test_an_app_is_verified_by_its_library_alone(packaged: Path, app_models: AppModels, tmp_path: Path) -> None:
    manifest = ["--manifest", str(packaged / "manifest.json")]
    apk = tmp_path / "app.apk"
    with zipfile.ZipFile(apk, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AndroidManifest.xml", "<manifest/>")
        archive.write(packaged / "lib" / LIBRARY, f"lib/x86_64/{LIBRARY}")
    assert harness("verify", str(apk), *manifest)[0] == 0
    # Of a model in the archive another build: a byte of its program differs.
    damaged = tmp_path / LIBRARY
    shutil.copy(app_models.library, damaged)
    assert harness("verify", str(damaged), *manifest)[0] == 0
    damage(damaged, "scaled_")
    assert harness("verify", str(damaged), *manifest) == (1, f"{LIBRARY} lacks scaled_ as it was compiled\n")
    empty = tmp_path / "empty.ipa"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("Payload/App.app/Info.plist", "")
    assert harness("verify", str(empty), *manifest) == (1, "empty.ipa holds no library or program\n")


def test_a_swapped_weight_is_found(packaged: Path, tmp_path: Path) -> None:
    weights = next(one for one in read_manifest(packaged / "manifest.json").contents if one.name == "weights")

    def swap(copy: Path) -> None:
        library = copy / "lib" / LIBRARY
        content = bytearray(library.read_bytes())
        at = content.index(bytes.fromhex(weights.begins)) + weights.size // 2
        content[at] ^= 1
        library.write_bytes(content)

    code, lines = changed(packaged, tmp_path, swap)
    assert code == 1
    assert lines[-1] == f"lib/{LIBRARY} lacks weights as it was compiled"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("files", {"../outside": {"size": 1, "sha256": "0"}}, "leads out of the package"),
        ("contents", [], "at least 1 item"),
        ("more", 1, "Extra inputs"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_wrong_usage(
    packaged: Path, tmp_path: Path, key: str, value: object, reason: str
) -> None:
    manifest = json.loads((packaged / "manifest.json").read_text()) | {key: value}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = CliRunner().invoke(app, ["verify", str(packaged), "--manifest", str(tmp_path / "manifest.json")])
    assert reason in str(done.exception)


def test_another_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    done = CliRunner().invoke(app, ["package", "c", "--models", str(SCALED), "--output-dir", str(tmp_path)])
    assert "is no package" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_has_to_have_measured_the_same_archive(packaged: Path, tmp_path: Path) -> None:
    shutil.copytree(STORED, tmp_path / "results")
    command = ["verify", str(packaged), "--run", "latest", "--results-dir", str(tmp_path / "results")]
    code, text = harness(*command)
    ours = read_manifest(packaged / "manifest.json").archive_sha256
    assert (code, text) == (1, f"the run measured another archive than {ours}\n")
    [stored] = (tmp_path / "results").glob("*/manifest.json")
    manifest = json.loads(stored.read_text())
    for variant in manifest["variants"].values():
        variant["archive_sha256"] = ours
    stored.write_text(json.dumps(manifest))
    assert harness(*command)[0] == 0
