"""`harness toolchain` and what `harness doctor` prints of toolchains, where no Rust but a test's own is on the PATH."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.cli.checks import check_installation
from harness.core.cache import Cache
from harness.devices.kinds import Check
from harness.native.compilers import NDK_VARIABLE
from harness.native.platforms import NoRunner
from harness.native.toolchain import debian
from harness.native.toolchain.choice import ROUTE_VARIABLE
from tests.environment import system_path
from tests.native.fake_debian import FakePackages, make_packages

load_commands()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, packages of a mirror, and a folder before the system's, which have neither Rust nor a linker."""
    packages, tools = tmp_path / "packages", tmp_path / "bin"
    packages.mkdir()
    tools.mkdir()
    make_packages(packages)
    monkeypatch.setattr(FakePackages, "folder", packages)
    monkeypatch.setattr(debian, "DebianPackages", FakePackages)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(ROUTE_VARIABLE, "debian")
    monkeypatch.setenv("PATH", f"{tools}:{system_path(tmp_path / 'programs')}")
    return tools


def toolchain(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["toolchain", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def checked(name: str) -> Check:
    return next(check for check in check_installation(Cache(), {}) if check.name == name)


def test_install_prints_what_is_there_and_show_lists_it(tools: Path) -> None:
    assert "installed when first needed" in toolchain("show")
    assert toolchain("install").startswith("android-arm64: Debian 1.0-1 ")
    rows = {line.split()[0]: line for line in toolchain("show").splitlines()}
    assert "1.0-1" in rows["android-arm64"]
    assert "1.0-1" in rows["linux-arm64"], "it has the same Rust target"
    assert "installed when first needed" in rows["android-x86_64"]
    assert rows["android-arm64"].split()[-1] == "zig"


def test_a_phones_short_name_brings_rust_and_the_linker(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.native.fake_debian.TARGET", "aarch64-apple-ios")
    make_packages(FakePackages.folder)
    (tools / "ld64.lld").write_text("#!/bin/sh\necho LLD 19.9\n")
    (tools / "ld64.lld").chmod(0o755)
    rust, linker = toolchain("install", "ios").splitlines()
    assert rust.startswith("ios-arm64: Debian 1.0-1 ")
    assert linker.startswith("ios-arm64: linked by LLD 19.9 with the stubs ")
    assert linker.endswith(f"({tools}/ld64.lld)")
    shown = next(line for line in toolchain("show").splitlines() if line.startswith("ios-arm64 "))
    assert shown.strip().endswith("LLD 19.9")


def test_upgrade_brings_the_mirrors_newest_and_removes_the_old(tools: Path, tmp_path: Path) -> None:
    toolchain("install")
    make_packages(FakePackages.folder, "1.0-2")
    assert "1.0-1" in toolchain("install")
    assert "1.0-2" in toolchain("install", "--upgrade")
    assert len(list((tmp_path / "cache/toolchains").glob("rust-*/manifest.json"))) == 1


def test_a_target_without_a_runner_is_wrong_usage(tools: Path) -> None:
    with pytest.raises(NoRunner, match="vax"):
        toolchain("install", "android-arm64", "vax")
    assert not list(Cache().root.glob("toolchains/*")), "nothing is installed before all names are known to be right"


def test_doctor_lists_rust_that_is_there_that_comes_and_that_cannot(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checked("Rust for android-arm64")
    assert before.ok
    assert "when it is needed" in before.found
    toolchain("install")
    assert "Debian 1.0-1" in checked("Rust for android-arm64").found
    Cache().clear()
    monkeypatch.setenv("PATH", str(tools))
    check = checked("Rust for android-arm64")
    assert (check.ok, check.cure) == (False, "install Rust with rustup")
    monkeypatch.setenv(ROUTE_VARIABLE, "nix")
    assert not checked("Rust for android-arm64").ok


def test_doctor_lists_what_links_for_ios(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    nothing = checked("linker for iOS")
    assert not nothing.ok
    assert "lld-19" in nothing.cure
    (tools / "apt-get").touch(mode=0o755)
    assert "when it is needed" in checked("linker for iOS").found
    (tools / "ld64.lld").write_text("#!/bin/sh\necho LLD 19.9\n")
    (tools / "ld64.lld").chmod(0o755)
    found = checked("linker for iOS")
    assert (found.ok, found.found) == (True, "LLD 19.9")
    (tools / "ld64.lld").write_text("#!/bin/sh\nexit 1\n")
    assert not checked("linker for iOS").ok


def test_doctor_looks_into_the_ndk_only_if_one_is_configured(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked("Android NDK").ok
    monkeypatch.setenv(NDK_VARIABLE, str(tools))
    check = checked("Android NDK")
    assert not check.ok
    assert NDK_VARIABLE in check.cure
