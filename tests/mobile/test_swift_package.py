"""`harness package swift`: what Xcode reads, and programs for both slices that call the library in it.

No Swift compiler is at hand: the Swift is checked by its names (test_bindings.py), the library by C programs that link.
"""

from __future__ import annotations

import plistlib
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.native import check_registrations
from harness.native.apps.manifest import binary_faults, read_manifest
from harness.native.compilers import package_folder
from harness.native.inspection import UnsuitableBinary
from harness.native.ios.facts import check_executable
from harness.native.ios.tools import Slice
from tests.native.apple import compile_c, link

load_commands()
pytestmark = [pytest.mark.compiler, pytest.mark.thorough]
TWICE = Path(__file__).parents[1] / "native/twice_model.py"
SOURCE = """\
#include <charsiug2p.h>

int main(void) {
  charsiug2p_library *library = 0;
  return charsiug2p_open(0, &library, 0);
}
"""
ABSENT = ("___assert_rtn", "___stack_chk_fail", "___stack_chk_guard")
"""Symbols of libSystem that a phone's slice takes and the stubs lack: the runner, not linked whole, needs none."""
FOLDERS: dict[Slice, str] = {"device": "ios-arm64", "simulator": "ios-arm64-simulator"}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> Path:
    out = tmp_path_factory.mktemp("packaged") / "swift"
    models = ["--models", str(TWICE), "--models", "random:tiny-llama"]
    command = ["package", "swift", *models, "--output-dir", str(out)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def test_the_package_names_what_is_there(packaged: Path) -> None:
    text = (packaged / "Package.swift").read_text()
    [framework] = re.findall(r'binaryTarget\(name: "HarnessModels", path: "([^"]+)"\)', text)
    plist = plistlib.loads((packaged / framework / "Info.plist").read_bytes())
    assert {one["LibraryIdentifier"] for one in plist["AvailableLibraries"]} == set(FOLDERS.values())
    assert (packaged / "Sources/Charsiug2p/Charsiug2p.swift").is_file()
    manifest = read_manifest(packaged / "manifest.json")
    found = {path.relative_to(packaged).as_posix() for path in packaged.rglob("*") if path.is_file()}
    assert found == {*manifest.files, "manifest.json"}
    assert manifest.models == ["tiny_llama", "twice"]
    assert (CliRunner().invoke(app, ["verify", str(packaged)])).exit_code == 0


@pytest.mark.parametrize("which", ["device", "simulator"])
def test_a_program_links_a_slice_and_every_function_of_the_swift_is_in_it(
    which: Slice, packaged: Path, user_cache: Cache, tmp_path: Path
) -> None:
    folder = packaged / "HarnessModels.xcframework" / FOLDERS[which]
    modules = (folder / "Headers/module.modulemap").read_text()
    assert all(f"module {name} {{" in modules for name in ("HarnessModels", "Charsiug2pFFI", "Charsiug2pC"))
    swift = (packaged / "Sources/Charsiug2p/Charsiug2p.swift").read_text()
    called = sorted(set(re.findall(r"\b(uniffi_charsiug2p_mobile_fn_\w+)\(", swift)))
    assert len(called) > 20
    calls = "".join(f"void {name}(void);\n" for name in called)
    table = "void (*const functions[])(void) = {" + ", ".join(called) + "};\n"
    made = compile_c(f"{SOURCE}{calls}{table}", tmp_path / "main.o", which, user_cache, f"-I{folder}/Headers")
    library = str(folder / "libHarnessModels.a")
    system = [flag for symbol in ABSENT for flag in ("-U", symbol)]
    done = link([made], tmp_path / "app", which, user_cache, "-all_load", library, "-lc++", *system)
    assert done.returncode == 0, done.stderr
    apple = re.findall(r"[\w$]+", (package_folder("ziglang") / "lib/libc/darwin/libSystem.tbd").read_text())
    assert set(ABSENT) <= set(apple), "Apple's own list, which zig ships, has them"
    if which == "simulator":
        check_executable(tmp_path / "app", which)
    else:
        with pytest.raises(UnsuitableBinary, match=f"suit an iPhone: it takes {', '.join(ABSENT)} from iOS, which"):
            check_executable(tmp_path / "app", which)
    check_registrations(tmp_path / "app", ["twice_", "tiny_llama_step_"])
    if which == "device":
        assert binary_faults(tmp_path / "app", read_manifest(packaged / "manifest.json")) == []
