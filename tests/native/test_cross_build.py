"""How runners for other machines are built: command lines, the NDK's compiler, a look into the binary."""

from __future__ import annotations

import dataclasses
import platform
import shlex
from pathlib import Path

import pytest

from harness.compiler.targets import TARGET_NAMES
from harness.core.cache import Cache
from harness.core.errors import ExitCode
from harness.native import build_runtime
from harness.native.cargo import LINK_FLAGS, cargo_build
from harness.native.cargo_environment import FLAG_SEPARATOR, cargo_environment
from harness.native.compilers import NDK_VARIABLE, ToolchainMissing, cxx_compiler, host_compiler
from harness.native.inspection import BinaryFacts, UnsuitableBinary, check_platform, inspect
from harness.native.platforms import NDK_ARM64, STATIC_ARM64, THIS_MACHINE, NoRunner, platform_of
from harness.native.process import ToolFailed, run_tool
from harness.native.toolchain import RustToolchain

RUST = RustToolchain("debian", Path("/r/cargo"), Path("/r/rustc"), "Debian 1.0", {"RUSTC": "/r/rustc"}, Path("/r/std"))
RECORDING = '#!/bin/sh\necho "$@" >> {log}\nif [ "$1" = --version ]; then echo "clang 1 (a fake)"; exit; fi\n' + (
    'while [ $# -gt 0 ]; do [ "$1" = -o ] && echo object > "$2"; shift; done\n'
)


@pytest.fixture
def ndk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out like an NDK, whose compilers write down what they are asked."""
    system = "darwin-x86_64" if platform.system() == "Darwin" else "linux-x86_64"
    folder = tmp_path / "ndk"
    programs = folder / "toolchains/llvm/prebuilt" / system / "bin"
    programs.mkdir(parents=True)
    for name in ("clang", "clang++"):
        (programs / name).write_text(RECORDING.format(log=tmp_path / "asked"))
        (programs / name).chmod(0o755)
    monkeypatch.setenv(NDK_VARIABLE, str(folder))
    return programs


def test_zig_links_statically_against_the_targets_own_standard_library(cache: Cache) -> None:
    build = cargo_build(STATIC_ARM64, RUST, cache)
    assert Path(build.command[0]).name == "cargo-zigbuild"
    assert build.command[1] == "zigbuild"
    assert build.command[-2:] == ["--target", "aarch64-unknown-linux-musl"]
    flags = build.environment["CARGO_ENCODED_RUSTFLAGS"].split(FLAG_SEPARATOR)
    assert flags == ["-Clink-self-contained=no", "--sysroot=/r/std"]
    assert (build.environment["CARGO"], build.environment["RUSTC"]) == ("/r/cargo", "/r/rustc")
    for name in ("ZIG_GLOBAL_CACHE_DIR", "CARGO_ZIGBUILD_CACHE_DIR"):
        assert Path(build.environment[name]).is_relative_to(cache.root)
    assert build.output == cache.root / "cargo/Debian-1.0/aarch64-unknown-linux-musl/release/device_runner"


def test_compilers_of_two_versions_do_not_share_cargos_output(cache: Cache) -> None:
    other = dataclasses.replace(RUST, version="rustc 1.95.0 (59807616e 2026-04-14)")
    outputs = {cargo_build(THIS_MACHINE, rust, cache).output for rust in (RUST, other)}
    assert len(outputs) == 2


def test_a_folder_with_spaces_reaches_rustc_whole(cache: Cache) -> None:
    spaced = dataclasses.replace(RUST, sysroot=Path("/my cache/std"))
    flags = cargo_build(STATIC_ARM64, spaced, cache).environment["CARGO_ENCODED_RUSTFLAGS"].split(FLAG_SEPARATOR)
    assert "--sysroot=/my cache/std" in flags


def test_nothing_of_the_users_own_rust_settings_goes_into_a_build(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags, a target or a profile that is set for other projects would make another runner, or put it elsewhere."""
    settings = {
        "RUSTFLAGS": "-Ctarget-cpu=native",
        "CARGO_ENCODED_RUSTFLAGS": "-Zno",
        "CARGO_BUILD_TARGET": "wasm32-unknown-unknown",
        "CARGO_TARGET_DIR": "/elsewhere",
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS": "-Clink-arg=-fuse-ld=mold",
        "CARGO_PROFILE_RELEASE_STRIP": "true",
        "G2P_TVM_STATIC_LINK": "0",
        "HARNESS_ARCHIVE": "/elsewhere/libmodel.a",
        "HARNESS_RUNNER_APP": "1",
    }
    for name, value in (settings | {"CARGO_HTTP_TIMEOUT": "9"}).items():
        monkeypatch.setenv(name, value)
    environment = cargo_environment()
    assert not settings.keys() & environment.keys()
    assert environment["CARGO_HTTP_TIMEOUT"] == "9"
    assert cargo_build(THIS_MACHINE, RUST, cache).environment["CARGO_ENCODED_RUSTFLAGS"] == ""


def test_the_ndks_clang_links_for_bionic_with_large_pages(cache: Cache, ndk: Path) -> None:
    build = cargo_build(NDK_ARM64, RUST, cache)
    assert build.command[:2] == ["/r/cargo", "build"]
    assert build.environment["CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER"] == str(ndk / "clang")
    flags = build.environment["CARGO_ENCODED_RUSTFLAGS"].split(FLAG_SEPARATOR)
    assert "-Clink-arg=--target=aarch64-linux-android24" in flags
    assert "-Clink-arg=-Wl,-z,max-page-size=16384" in flags
    assert f"-Lnative={ndk.parent}/sysroot/usr/lib/aarch64-linux-android" in flags


def test_the_ndks_clang_compiles_the_runtime(cache: Cache, ndk: Path, tmp_path: Path) -> None:
    libraries = build_runtime("aarch64-linux-android", cache=cache, progress=lambda _text: None)
    asked = [shlex.split(line) for line in (tmp_path / "asked").read_text().splitlines()]
    compiled = [line for line in asked if "-c" in line]
    units = [
        "ffi_fast.cc",
        "ffi_small.cc",
        "object_pool.cc",
        "runtime_fast.cc",
        "runtime_small.cc",
        "thread_pool.cc",
    ]
    assert sorted(Path(line[line.index("-c") + 1]).name for line in compiled) == units
    assert {line[0] for line in compiled} == {"--target=aarch64-linux-android24"}
    assert libraries.runtime.is_file()


def test_a_missing_or_empty_ndk_names_its_cure(
    cache: Cache, ndk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ndk / "clang").unlink()
    with pytest.raises(ToolchainMissing, match="bin/clang"):
        cargo_build(NDK_ARM64, RUST, cache)
    monkeypatch.setenv(NDK_VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(ToolchainMissing, match=r"elsewhere, which has no .*bin/clang\+\+"):
        cxx_compiler("aarch64-linux-android", cache)
    monkeypatch.delenv(NDK_VARIABLE)
    with pytest.raises(ToolchainMissing, match="is not set") as caught:
        cxx_compiler("aarch64-linux-android", cache)
    assert "android-arm64" in caught.value.cure


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_every_target_has_a_runner(target: str) -> None:
    assert platform_of(target).linker in LINK_FLAGS


def test_a_target_without_a_runner_lists_those_with_one() -> None:
    with pytest.raises(NoRunner, match="vax") as caught:
        platform_of("vax")
    assert caught.value.exit_code is ExitCode.USAGE
    assert "android-arm64" in caught.value.cure


def test_a_binary_that_does_not_suit_the_device_is_reported_with_the_reason(tmp_path: Path) -> None:
    """A program of this machine's, dynamically linked, offered as a static one for another."""
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    program = tmp_path / "program"
    run_tool([*host_compiler(), str(tmp_path / "main.c"), "-o", str(program)], deadline=60)
    facts = inspect(program)
    with pytest.raises(UnsuitableBinary) as caught:
        check_platform(program, facts, "RISCV", frozenset())
    for words in (f"for {facts.architecture} instead of RISCV", "it loads libc", "asks for the loader"):
        assert words in str(caught.value)
    aligned = dataclasses.replace(facts, alignment=1 << 16)
    check_platform(program, aligned, facts.architecture, frozenset(facts.libraries))


def test_small_segments_do_not_suit_large_pages() -> None:
    facts = BinaryFacts("ELF", "AARCH64", (), (), None, 4096, 1)
    with pytest.raises(UnsuitableBinary, match="aligned to 4096 bytes"):
        check_platform(Path("runner"), facts, "AARCH64", frozenset())


def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"echo hello; sleep 600 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(ToolFailed, match=r"did not end within 1 s:\nhello"):
        run_tool(["sh", "-c", script], deadline=1)
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    # Reaped by whoever adopts it, or waiting to be.
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_a_tool_that_is_not_there_is_reported() -> None:
    with pytest.raises(ToolFailed, match="cannot be started: No such file"):
        run_tool(["/nowhere/tool"], deadline=1)
