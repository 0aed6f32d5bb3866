"""Whose tools build for iOS, what they are asked, and what LLVM's linker is given in the place of Apple's SDK."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.core.debian import PackagesUnavailable
from harness.native import build_runtime
from harness.native.cargo import cargo_build
from harness.native.cargo_environment import FLAG_SEPARATOR
from harness.native.compilers import APPLE_FLAGS, ToolchainMissing, package_folder
from harness.native.ios import lld
from harness.native.ios.app import app_file
from harness.native.ios.lld import debian_lld, find_lld, lld_version, present_lld
from harness.native.ios.stubs import stub_sdk, stubs
from harness.native.ios.tools import ZIG_TRIPLES, Slice, apple_tools, undefined_symbols, xcode_tools
from harness.native.platforms import IOS_ARM64, IOS_SIMULATOR
from tests.environment import system_path
from tests.native.apple import compile_c, link, llvm_tools, quiet
from tests.native.test_cross_build import RECORDING, RUST

XCRUN = """#!/bin/sh
echo "$@" >> {folder}/xcrun-asked
shift 2
case "$*" in
  --show-sdk-path) {sdk} ;;
  --show-sdk-version) echo 26.1 ;;
  "--find clang") echo {folder}/clang ;;
  "--find codesign") echo {folder}/codesign ;;
  *) exit 72 ;;
esac
"""
CODESIGN = '#!/bin/sh\necho "$@" > {folder}/codesign-asked\nfor last; do :; done\nmkdir "$last/_CodeSignature"\n' + (
    'echo sealed > "$last/_CodeSignature/CodeResources"\n'
)


@pytest.fixture
def xcode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with an xcrun first, whose clang and codesign write down what they are asked."""
    folder = tmp_path / "xcode"
    folder.mkdir()
    scripts = {
        "xcrun": XCRUN.format(folder=folder, sdk=f"echo {folder}/iPhoneOS.sdk"),
        "clang": RECORDING.format(log=folder / "clang-asked"),
        "clang++": RECORDING.format(log=folder / "clang-asked"),
        "codesign": CODESIGN.format(folder=folder),
    }
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{system_path(tmp_path / 'programs')}")
    return folder


def test_xcode_is_taken_where_there_is_one(cache: Cache, xcode: Path) -> None:
    tools = apple_tools("device", cache=cache, progress=quiet)
    assert (tools.name, tools.linker, tools.codesign) == ("Xcode", xcode / "clang", xcode / "codesign")
    assert tools.identity == "clang 1 (a fake), SDK 26.1"
    build = cargo_build(IOS_ARM64, RUST, cache, tools)
    assert build.command[:2] == ["/r/cargo", "build"]
    assert build.environment["CARGO_TARGET_AARCH64_APPLE_IOS_LINKER"] == str(xcode / "clang")
    assert build.environment["CARGO_ENCODED_RUSTFLAGS"] == "--sysroot=/r/std"
    assert build.environment["SDKROOT"] == f"{xcode}/iPhoneOS.sdk"
    assert build.environment["IPHONEOS_DEPLOYMENT_TARGET"] == "14.0"
    asked = (xcode / "xcrun-asked").read_text().splitlines()
    assert {line.split(" --", 2)[0] + " " + line.split()[1] for line in asked} == {"--sdk iphoneos iphoneos"}


def test_the_simulator_has_an_sdk_of_its_own(xcode: Path) -> None:
    tools = xcode_tools("simulator")
    assert tools is not None
    assert set((xcode / "xcrun-asked").read_text().split()) >= {"iphonesimulator"}
    assert "arm64-apple-ios14.0-simulator" in tools.cxx.command


def test_xcodes_clang_compiles_the_runtime(cache: Cache, xcode: Path) -> None:
    tools = apple_tools("device", cache=cache, progress=quiet)
    libraries = build_runtime(ZIG_TRIPLES["device"], cache=cache, progress=quiet, compiler=tools.cxx)
    compiled = [line for line in (xcode / "clang-asked").read_text().splitlines() if " -c " in line]
    assert len(compiled) == 6, "a unit for each library and optimization, the pools of objects and threads"
    words = shlex.split(compiled[0])
    assert words[words.index("-target") + 1] == "arm64-apple-ios14.0"
    assert words[words.index("-isysroot") + 1] == f"{xcode}/iPhoneOS.sdk"
    assert not set(APPLE_FLAGS) & set(words), "Apple's own headers know the releases"
    assert libraries.runtime.is_file()


def test_xcodes_codesign_signs_the_bundle_ad_hoc(cache: Cache, xcode: Path, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"x")
    tools = apple_tools("device", cache=cache, progress=quiet)
    made = app_file(
        tmp_path / "binary", cache=cache, bundle_id="com.example.x", which="device", companion=None, tools=tools
    )
    assert (xcode / "codesign-asked").read_text().startswith("--force --sign - /")
    assert b"_CodeSignature/CodeResources" in made.read_bytes()


def test_the_command_line_tools_alone_are_no_xcode(cache: Cache, xcode: Path, user_cache: Cache) -> None:
    """They have an xcrun, which has no SDK for phones."""
    (xcode / "xcrun").write_text(XCRUN.format(folder=xcode, sdk="exit 1"))
    assert xcode_tools("device") is None
    assert apple_tools("device", cache=user_cache, progress=quiet).name == "LLVM"


def test_an_xcrun_that_cannot_be_started_is_reported(xcode: Path) -> None:
    (xcode / "xcrun").write_bytes(b"\x7fELF no program")
    with pytest.raises(ToolchainMissing, match="xcrun does not answer"):
        xcode_tools("device")


def test_llvms_linker_is_asked_through_rustc(user_cache: Cache) -> None:
    tools = llvm_tools("simulator", user_cache)
    build = cargo_build(IOS_SIMULATOR, RUST, user_cache, tools)
    flags = build.environment["CARGO_ENCODED_RUSTFLAGS"].replace(FLAG_SEPARATOR, " ").replace("-Clink-arg=", "")
    linker = "-Clinker-flavor=ld64.lld -platform_version ios-simulator 14.0 17.0 -adhoc_codesign -no_fixup_chains"
    assert flags.startswith(f"--sysroot=/r/std {linker}")
    assert build.environment["CARGO_TARGET_AARCH64_APPLE_IOS_SIM_LINKER"] == str(tools.linker)
    assert "LLD" in lld_version(tools.linker)
    assert (tools.codesign, Path(build.environment["SDKROOT"], "usr/lib/libSystem.tbd").is_file()) == (None, True)


def test_a_changed_list_of_symbols_is_another_build(user_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    before = llvm_tools("device", user_cache).identity
    monkeypatch.setattr("harness.native.ios.tools.lists_hash", lambda: "0" * 64)
    assert llvm_tools("device", user_cache).identity != before


def test_the_lists_are_what_apples_c_library_has() -> None:
    """zig ships Apple's list for macOS, where everything that iOS 14 has in libSystem is, too."""
    text = (package_folder("ziglang") / "lib/libc/darwin/libSystem.tbd").read_text()
    known = set(re.findall(r"[\w$]+", text))
    ours = next(stub for stub in stubs() if stub.name == "libSystem")
    assert len(ours.symbols) > 150
    assert sorted(set(ours.symbols) - known) == []
    everything = [symbol for stub in stubs() for symbol in stub.symbols]
    assert len(everything) == len(set(everything)), "each has one library"
    for stub in stubs():
        assert list(stub.symbols) == sorted(stub.symbols), stub.name
        assert stub.install_name.startswith(("/usr/lib/", "/System/Library/Frameworks/")), stub.name


def test_nothing_is_taken_from_libcxx_that_came_after_ios_14() -> None:
    """What libc++ 11 to 22 added, by its own changelog of symbols, in so far as programs like ours would take it."""
    newer = r"filebuf|stringbuf|fstream|stringstream|17bad_function_call|hash_memory|_chars|verbose_abort|3pmr|atomic_"
    newer += r"|barrier|is_posix_terminal|init_primary_exception|table_sizeE|Du11__mbstate|^__ZTIN10__cxxabiv1"
    ours = next(stub for stub in stubs() if stub.name == "libc++")
    assert len(ours.symbols) > 100
    assert [symbol for symbol in ours.symbols if re.search(newer, symbol)] == []


@pytest.mark.parametrize("which", ["device", "simulator"])
def test_a_symbol_that_nobody_has_ends_the_link_with_its_name(which: Slice, user_cache: Cache, tmp_path: Path) -> None:
    source = 'int puts(const char *); int fork_bomb(void); int main(void) { return puts("") + fork_bomb(); }\n'
    made = compile_c(source, tmp_path / "main.o", which, user_cache)
    done = link([made], tmp_path / "program", which, user_cache)
    assert done.returncode != 0
    assert undefined_symbols(done.stderr) == ["_fork_bomb"]
    assert not (tmp_path / "program").exists()


def test_apples_linker_names_them_in_other_words() -> None:
    output = 'Undefined symbols for architecture arm64:\n  "_fork_bomb", referenced from:\n      _main in main.o\n'
    assert undefined_symbols(output) == ["_fork_bomb"]


def test_the_stub_sdk_is_made_again_when_it_is_damaged(cache: Cache) -> None:
    sdk = stub_sdk(cache)
    path = sdk / "System/Library/Frameworks/UIKit.framework/UIKit.tbd"
    whole = path.read_text()
    assert "_UIApplicationMain" in whole
    path.write_text("--- !tapi-tbd\n")
    assert stub_sdk(cache) == sdk
    assert path.read_text() == whole
    assert (sdk / "usr/lib/libm.tbd").read_text() == (sdk / "usr/lib/libSystem.tbd").read_text()


def test_a_linker_on_the_path_is_taken_before_anything_is_fetched(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert present_lld(cache) is None
    path = tmp_path / "ld64.lld-19"
    path.write_text("#!/bin/sh\necho LLD 19.9\n")
    path.chmod(0o755)
    assert present_lld(cache) == find_lld(cache, quiet) == path
    assert lld_version(path) == "LLD 19.9"
    path.write_text("#!/bin/sh\necho GNU ld\n")
    with pytest.raises(ToolchainMissing, match="is not LLVM's linker"):
        lld_version(path)
    assert not (cache.root / "lld").exists()


def test_without_a_mirror_the_ways_to_a_linker_are_reported(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainMissing, match="apt-get and dpkg were not found") as caught:
        find_lld(cache, quiet)
    assert "Xcode" in caught.value.cure
    assert "lld-19" in caught.value.cure


def test_debians_package_brings_what_the_linker_loads(user_cache: Cache) -> None:
    """The real package, which tools/setup-tests fetches into the user's cache, whatever linker this machine has."""
    linker = debian_lld(user_cache, quiet)
    assert linker.is_relative_to(user_cache.root)
    assert "LLD" in lld_version(linker)
    brought = {path.name.split(".so")[0] for path in (linker.parent.parent / "lib").iterdir()}
    assert {"libLLVM", "libzstd"} <= brought
    assert not brought & {"libc", "libstdc++", "libgcc_s"}, "a process cannot mix two versions of these"


def test_a_package_without_the_linker_is_reported(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Empty:
        def __init__(self, *_arguments: object, **_named: object) -> None:
            pass

        def fetch(self, _names: object, **_named: object) -> list[Path]:
            return []

    monkeypatch.setattr(lld, "_on_path", lambda: None)
    monkeypatch.setattr(lld, "DebianPackages", Empty)
    with pytest.raises(ToolchainMissing, match=r"holds no ld64\.lld"):
        find_lld(cache, quiet)
    assert not list(cache.root.glob("lld/*/bin")), "nothing half made stays"

    def unreachable(*_arguments: object, **_named: object) -> Empty:
        raise PackagesUnavailable("no mirror")

    monkeypatch.setattr(lld, "DebianPackages", unreachable)
    with pytest.raises(ToolchainMissing, match="no mirror"):
        find_lld(cache, quiet)


def test_platforms_of_the_two_slices_differ_in_everything_but_the_linker() -> None:
    ours = [dataclasses.asdict(platform) for platform in (IOS_ARM64, IOS_SIMULATOR)]
    assert {key for key in ours[0] if ours[0][key] == ours[1][key]} == {"linker", "architecture"}
    assert shutil.which("xcrun") is None or xcode_tools("device") is not None
