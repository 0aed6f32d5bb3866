"""A test sees the declared environment, however the machine and the shell that started it are set up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environment import KEPT, REPOSITORY, search_path, system_path
from tests.guard import sitecustomize as guard

HOSTILE = {
    "HARNESS_RUST_ROUTE": "nix",
    "HARNESS_RUST_WORKSPACE": "/nowhere",
    "G2P_TVM_SYSTEM_LIB": "/nowhere/lib.a",
    "ANDROID_HOME": "/nowhere/sdk",
    "ANDROID_NDK_HOME": "/nowhere/ndk",
    "ANDROID_SERIAL": "emulator-5554",
    "ANDROID_ADB_SERVER_PORT": "5037",
    "ADB_TRACE": "all",
    "USBMUXD_SOCKET_ADDRESS": "/nowhere/usbmuxd",
    "CARGO_BUILD_TARGET": "wasm32-unknown-unknown",
    "CARGO_TARGET_DIR": "/nowhere/target",
    "RUSTFLAGS": "--cfg hostile",
    "CXX": "/nowhere/c++",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "de_DE.ISO-8859-1",
    "TZ": "Asia/Kathmandu",
    "COLUMNS": "20",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "CI": "true",
    "XDG_CACHE_HOME": "/nowhere/cache",
    "XDG_CONFIG_HOME": "/nowhere/config",
    "PIP_USER": "1",
    "GIT_DIR": "/nowhere/.git",
    "PYTEST_ADDOPTS": "--durations=3",
    "PYTHONWARNINGS": "ignore",
    "HF_HOME": "/nowhere/hub",
}
INNER = """
import json, os, pathlib, time

def test_shows():
    pathlib.Path({out!r}).write_text(json.dumps([dict(os.environ), time.tzname[0], os.umask(0o022)]), encoding="utf-8")
"""


@pytest.mark.programs
def test_nothing_of_the_shell_reaches_a_test(tmp_path: Path) -> None:
    """Started as a person would, in a shell with whatever can be set."""
    out = tmp_path / "seen.json"
    project = tmp_path / "a project"
    project.mkdir()
    (project / "conftest.py").write_text(
        "from tests.conftest import pytest_unconfigure, unchanged_environment\n", encoding="utf-8"
    )
    (project / "test_inner.py").write_text(INNER.format(out=str(out)), encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = A stranger\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(project)],
        cwd=project,
        env=os.environ | HOSTILE | {"HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        preexec_fn=lambda: os.umask(0o077),
    )
    seen, zone, mask = json.loads(out.read_text(encoding="utf-8"))
    left = {name for name, value in HOSTILE.items() if seen.get(name) == value}
    assert left == set()
    assert (zone, mask) == ("UTC", 0o022)
    assert Path(seen["HOME"]) != home
    assert not Path(seen["HOME"]).exists(), "the scratch folder outlived its session"


def test_this_process_has_the_declared_environment() -> None:
    declared = {"PATH", "HOME", "LANG", "TZ", "NO_PROXY", "no_proxy", "PYTHONPATH", "CARGO_TERM_COLOR"}
    declared |= {
        "HARNESS_CACHE_DIR",
        "UV_CACHE_DIR",
        "ZIG_GLOBAL_CACHE_DIR",
        "ZIG_LOCAL_CACHE_DIR",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
    }
    declared |= {"ANDROID_ADB_SERVER_PORT", "USBMUXD_SOCKET_ADDRESS", guard.ALLOWED, guard.REFUSALS, guard.STAND_INS}
    assert set(os.environ) - KEPT - declared - SET_BY_LIBRARIES == set()
    assert " " in os.environ["HOME"]
    assert shutil.which("adb") is None
    assert time.tzname[0] == "UTC"


SET_BY_LIBRARIES = {"KMP_INIT_AT_FORK", "KMP_DUPLICATE_LIB_OK", "TVM_LIBRARY_PATH", "TORCHINDUCTOR_CACHE_DIR"}
"""What libraries that other tests import set for themselves."""


def test_programs_are_hidden_by_folders_of_links(tmp_path: Path) -> None:
    folder, plain = tmp_path / "bin", tmp_path / "plain"
    for name in ("cargo", "cargo-fmt", "cc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch(mode=0o755)
    plain.mkdir()
    path = search_path([folder, plain, folder], without=["cargo*"], scratch=tmp_path / "links")
    assert len(path.split(os.pathsep)) == 2
    assert shutil.which("cargo", path=path) is shutil.which("cargo-fmt", path=path) is None
    assert Path(shutil.which("cc", path=path) or "").resolve() == folder / "cc"


@pytest.mark.parametrize("program", ["cargo", "rustc", "ld64.lld", "ld64.lld-19", "adb", "xcrun"])
def test_the_system_path_has_no_rust_and_no_linker_for_apple(tmp_path: Path, program: str) -> None:
    path = system_path(tmp_path)
    assert shutil.which(program, path=path) is None
    assert shutil.which("sh", path=path) is not None
