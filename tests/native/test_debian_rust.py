"""Debian's Rust in the cache: made once, gone on with after kill -9, repaired when damaged, renewed when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.native.toolchain import debian
from harness.native.toolchain.debian import KIND, POINTER, DebianRust, StandardLibraryFailed
from tests.native.fake_debian import TARGET, FakePackages, make_packages


class Scene:
    def __init__(self, folder: Path) -> None:
        self.packages, self.notices, self.messages = folder / "packages", list[str](), list[str]()
        self.packages.mkdir()
        make_packages(self.packages)
        self.cache = Cache(folder / "cache", notice=self.notices.append)
        self.rust = DebianRust(self.cache, self.messages.append)

    def cargo_runs(self) -> list[str]:
        path = self.packages / "cargo-runs"
        return path.read_text().splitlines() if path.exists() else []

    def entries(self) -> list[str]:
        return sorted(path.name for path in (self.cache.root / KIND).iterdir() if path.suffix not in (".lock", ".json"))

    def install_elsewhere(self, path: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.native.fake_debian", str(self.cache.root), str(self.packages), TARGET]
        environment = os.environ | ({} if path is None else {"PATH": path})
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path)
    monkeypatch.setattr(FakePackages, "folder", made.packages)
    monkeypatch.setattr(debian, "DebianPackages", FakePackages)
    return made


def test_the_second_time_nothing_is_made(scene: Scene) -> None:
    assert scene.rust.installed(TARGET) is None
    first = scene.rust.install(TARGET)
    assert first.sysroot is not None
    libraries = first.sysroot / "lib/rustlib" / TARGET / "lib"
    assert [path.name for path in libraries.iterdir()] == ["libstd-1.rlib"]
    root = first.rustc.parents[2]
    assert (root / "usr/lib/libneeded.so").is_file()
    assert not (root / "usr/lib/libc.so.6").exists(), "the machine's own C library is used"
    assert not (root / "usr/src/rustc-1.0/compiler").exists()
    assert scene.rust.installed(TARGET) == first == scene.rust.verified(TARGET)
    assert len(scene.cargo_runs()) == 1
    assert f"-Zbuild-std=std,panic_abort --target {TARGET}" in scene.cargo_runs()[0]
    assert any("cargo compiles core" in text for text in scene.messages)
    assert not [name for name in scene.entries() if name.endswith((".work", ".partial"))]
    assert not scene.notices


def test_a_kill_while_unpacking_leaves_no_half_compiler(scene: Scene, tmp_path: Path) -> None:
    """The first dpkg unpacks its package and takes the harness with it."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "dpkg").write_text('#!/bin/sh\n/usr/bin/dpkg "$@"\nkill -9 $PPID\n')
    (fakes / "dpkg").chmod(0o755)
    killed = scene.install_elsewhere(f"{fakes}{os.pathsep}{os.environ['PATH']}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [name.endswith(".partial") for name in scene.entries()] == [True]
    assert scene.rust.installed(TARGET) is None
    again = scene.install_elsewhere()
    assert (again.returncode, again.stderr) == (0, "")
    installed = scene.rust.installed(TARGET)
    assert installed is not None
    assert installed.version == again.stdout.strip()


def test_a_kill_while_building_goes_on_from_there(scene: Scene) -> None:
    (scene.packages / "kill-cargo").touch()
    killed = scene.install_elsewhere()
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    unpacked = {p: p.stat().st_mtime_ns for p in (scene.cache.root / KIND).glob("rust-*/usr/bin/*")}
    assert unpacked
    again = scene.install_elsewhere()
    assert (again.returncode, again.stderr) == (0, "")
    assert {p: p.stat().st_mtime_ns for p in unpacked} == unpacked, "the compiler was not unpacked again"
    assert scene.cargo_runs()[2:] == ["resumed"], "cargo's folder was kept"
    assert not [name for name in scene.entries() if name.endswith((".work", ".partial"))]


def test_ctrl_c_leaves_neither_processes_nor_half_entries(scene: Scene) -> None:
    (scene.packages / "hang-cargo").touch()
    pid = scene.packages / "cargo-pid"
    command = [sys.executable, "-m", "tests.native.fake_debian", str(scene.cache.root), str(scene.packages), TARGET]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (pid.exists() and pid.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not Path("/proc", pid.read_text().strip()).exists()
    assert not [name for name in scene.entries() if name.endswith(".partial")]


def test_a_failing_build_reports_what_cargo_printed(scene: Scene) -> None:
    (scene.packages / "fail-cargo").touch()
    with pytest.raises(StandardLibraryFailed, match="no such crate") as caught:
        scene.rust.install(TARGET)
    assert "toolchain install" in caught.value.cure
    assert scene.rust.installed(TARGET) is None


@pytest.mark.parametrize(
    "what", ["std-*/lib/rustlib/*/lib/libstd-1.rlib", "std-*/manifest.json", "rust-*/usr/bin/rustc"]
)
def test_what_is_damaged_is_made_again(scene: Scene, what: str) -> None:
    scene.rust.install(TARGET)
    [path] = (scene.cache.root / KIND).glob(what)
    before = path.read_bytes()
    path.write_bytes(b"?" * len(before))
    toolchain = scene.rust.verified(TARGET)
    assert path.read_bytes() == before
    assert toolchain == scene.rust.installed(TARGET)
    assert any("damaged" in notice for notice in scene.notices)


def test_a_damaged_pointer_is_written_again(scene: Scene) -> None:
    first = scene.rust.install(TARGET)
    pointer = scene.cache.root / KIND / POINTER
    pointer.write_text("{")
    assert scene.rust.installed(TARGET) is None
    assert scene.rust.verified(TARGET) == first
    assert len(scene.cargo_runs()) == 1, "nothing but the pointer was made"


def test_newer_packages_make_another_toolchain(scene: Scene) -> None:
    first = scene.rust.install(TARGET)
    make_packages(scene.packages, "1.0-2")
    assert scene.rust.verified(TARGET) == first, "a build does not ask the mirror"
    second = scene.rust.install(TARGET)
    assert "1.0-2" in second.version
    assert second.rustc != first.rustc
    assert scene.rust.installed(TARGET) == second
    scene.rust.remove_superseded()
    assert not first.rustc.exists()
    assert scene.rust.verified(TARGET) == second
