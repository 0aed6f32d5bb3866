"""`harness package ios`: what Xcode reads, and programs that link each slice and resolve everything."""

from __future__ import annotations

import json
import plistlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.native import check_registrations
from harness.native.inspection import MissingRegistration
from harness.native.ios.facts import check_executable
from harness.native.ios.tools import Slice
from harness.native.ios.xcframework import PackagingFailed, merge_libraries
from tests.native.apple import compile_c, link

load_commands()

SOURCE = """\
#include <HarnessModels.h>
#include <string.h>

int main(void) {
  TVMFFIByteArray name = {"ffi.SystemLib", 13};
  TVMFFIObjectHandle function = 0;
  if (TVMFFIFunctionGetGlobal(&name, &function) != 0) return 1;
  return (int)strlen(G2P_ENCODER_PREFIX G2P_DECODER_PREFILL_PREFIX G2P_DECODER_STEP_PREFIX);
}
"""
pytestmark = [pytest.mark.compiler, pytest.mark.thorough]
TWICE = Path(__file__).with_name("twice_model.py")
PREFIXES = ("g2p_encoder_", "g2p_decoder_prefill_", "g2p_decoder_step_")


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory, user_cache: Cache) -> Path:
    """Packaged twice, over itself."""
    out = tmp_path_factory.mktemp("packaged")
    (out / "HarnessModels.xcframework").mkdir()
    (out / "HarnessModels.xcframework/older").touch()
    done = CliRunner().invoke(app, ["package", "ios", "--output-dir", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        str(out / name) for name in ("HarnessModels.xcframework", "system_lib_metadata.json")
    ]
    assert sorted(path.name for path in out.iterdir()) == ["HarnessModels.xcframework", "system_lib_metadata.json"]
    return out


def test_xcode_reads_two_slices(packaged: Path) -> None:
    framework = packaged / "HarnessModels.xcframework"
    plist = plistlib.loads((framework / "Info.plist").read_bytes())
    assert (plist["CFBundlePackageType"], plist["XCFrameworkFormatVersion"]) == ("XFWK", "1.0")
    found = {library["LibraryIdentifier"]: library for library in plist["AvailableLibraries"]}
    assert found.keys() == {"ios-arm64", "ios-arm64-simulator"} == {p.name for p in framework.iterdir() if p.is_dir()}
    assert found["ios-arm64-simulator"]["SupportedPlatformVariant"] == "simulator"
    assert "SupportedPlatformVariant" not in found["ios-arm64"]
    for name, library in found.items():
        assert (library["SupportedPlatform"], library["SupportedArchitectures"]) == ("ios", ["arm64"])
        assert (framework / name / library["LibraryPath"]).is_file()
        assert (framework / name / library["HeadersPath"] / "module.modulemap").is_file()
    assert json.loads((packaged / "system_lib_metadata.json").read_text())["prefix_base"] == "g2p_"


@pytest.mark.parametrize("which", ["device", "simulator"])
def test_a_program_links_a_slice_and_everything_resolves(
    which: Slice, packaged: Path, user_cache: Cache, tmp_path: Path
) -> None:
    folder = packaged / "HarnessModels.xcframework" / {"device": "ios-arm64", "simulator": "ios-arm64-simulator"}[which]
    made = compile_c(SOURCE, tmp_path / "main.o", which, user_cache, f"-I{folder}/Headers")
    library = str(folder / "libHarnessModels.a")
    done = link([made], tmp_path / "app", which, user_cache, "-force_load", library, "-lc++")
    assert done.returncode == 0, done.stderr
    check_executable(tmp_path / "app", which)
    check_registrations(tmp_path / "app", PREFIXES)


def test_without_force_load_the_models_are_dropped(packaged: Path, user_cache: Cache, tmp_path: Path) -> None:
    """What the header and the documentation warn of."""
    folder = packaged / "HarnessModels.xcframework/ios-arm64"
    made = compile_c(SOURCE, tmp_path / "main.o", "device", user_cache, f"-I{folder}/Headers")
    done = link([made, folder / "libHarnessModels.a"], tmp_path / "app", "device", user_cache, "-lc++")
    assert done.returncode == 0, done.stderr
    with pytest.raises(MissingRegistration, match="g2p_encoder_"):
        check_registrations(tmp_path / "app", PREFIXES)


def test_a_model_of_the_users_own_is_packaged_by_its_name(user_cache: Cache, tmp_path: Path) -> None:
    command = ["package", "ios", "--models", str(TWICE), "--output-dir", str(tmp_path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "HarnessModels.xcframework/ios-arm64"
    assert '#define TWICE_PREFIX "twice_"' in (folder / "Headers/HarnessModels.h").read_text()
    made = compile_c("int main(void) { return 0; }\n", tmp_path / "main.o", "device", user_cache)
    library = str(folder / "libHarnessModels.a")
    linked = link([made], tmp_path / "app", "device", user_cache, "-force_load", library, "-lc++")
    assert linked.returncode == 0, linked.stderr
    check_executable(tmp_path / "app", "device")
    check_registrations(tmp_path / "app", ["twice_"])


def test_what_cannot_be_merged_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PackagingFailed, match=r"cannot write all.a: (?s:.*)none.a"):
        merge_libraries([tmp_path / "none.a"], tmp_path / "all.a")
