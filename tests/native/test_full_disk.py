"""A disk that fills up while a toolchain is installed: one clear error, nothing half-made, and it goes on later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.cache import Cache, DiskFull
from harness.native.process import ToolFailed, run_tool
from harness.native.toolchain.rust import RustToolchain
from harness.native.toolchain.rustup import add_target
from tests.native.fake_debian import make_packages
from tests.native.full_disks import ROOM


def test_debians_rust_on_disks_that_are_too_small(tmp_path: Path) -> None:
    packages, disk = tmp_path / "packages", tmp_path / "disk"
    packages.mkdir()
    disk.mkdir()
    make_packages(packages)
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.native.full_disks", str(disk), str(packages)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [end["files"] for end in ends] == list(ROOM)
    full = [end for end in ends if end["error"]]
    assert full == ends[: len(full)]
    assert 3 < len(full) < len(ends), "some disks are too small, and some are not"
    assert all("no space left" in end["error"] and "free some space" in end["cure"] for end in full)
    assert {tuple(end["half_made"]) for end in ends} == {()}
    assert all(end["again"] for end in ends)


def tool(folder: Path, message: str) -> Path:
    path = folder / "rustup"
    path.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    path.chmod(0o755)
    return path


def test_rustup_without_room_is_no_reason_to_take_another_rust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rustup = tool(tmp_path, "error: could not write: No space left on device (os error 28)")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    toolchain = RustToolchain("PATH", rustup, rustup, "rustc 1.95.0")
    with pytest.raises(DiskFull, match="rustup found no space left"):
        add_target(toolchain, "aarch64-unknown-linux-musl", lambda _line: None)


def test_a_tool_without_room_leaves_no_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    full, other = tool(tmp_path, "No space left on device"), tmp_path / "other"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)

    def build(folder: Path) -> None:
        (folder / "begun").touch()
        run_tool([str(full)], deadline=10)

    with pytest.raises(DiskFull, match="free some space"):
        cache.fetch("runners", "key", build)
    assert [path.name for path in (cache.root / "runners").iterdir()] == ["key.lock"]
    with pytest.raises(ToolFailed):
        run_tool([str(other)], deadline=10)
