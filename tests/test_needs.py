"""A test is held to its marker: what a pure one may not start is refused, and fails it, swallowed or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import REPOSITORY, python_path
from tests.guard import sitecustomize as guard
from tests.outside import persons_environment

CONFTEST = """
from tests.conftest import (  # noqa: F401
    pytest_collection_modifyitems, pytest_make_collect_report, pytest_runtest_protocol, pytest_runtest_teardown,
    pytest_unconfigure, user_cache,
)
"""
INI = "[pytest]\nmarkers =\n    pure\n    programs\n    compiler\n    emulator\n"
TESTS = """
import contextlib, os, subprocess, sys
import pytest
from harness.core.cache import Cache

WORKER = [sys.executable, "-m", "harness.compiler.worker"]
IMPORT_IN_A_CHILD = [sys.executable, "-c", "try:\\n import tvm\\nexcept BaseException:\\n pass"]

def test_imports():
    import tvm

def test_starts():
    subprocess.run(WORKER, input="{}", capture_output=True, text=True, encoding="utf-8")

def test_swallows():
    with contextlib.suppress(BaseException):
        subprocess.run(WORKER)

def test_has_a_child_that_swallows():
    subprocess.run(IMPORT_IN_A_CHILD, check=True)

@pytest.mark.compiler
def test_may_compile_and_starts_a_phone():
    subprocess.run([sys.executable, "-m", "harness.virtual.android"])

def test_loads_dask():
    import distributed

@pytest.mark.programs
def test_good_loads_dask():
    import distributed

def test_runs_the_command():
    subprocess.run([sys.executable, "-m", "harness.cli", "--version"], check=True)

@pytest.mark.compiler
def test_good_runs_the_command():
    subprocess.run([sys.executable, "-m", "harness.cli", "--version"], check=True)

def test_connects():
    import socket
    with socket.socket() as one:
        one.settimeout(0.1)
        one.connect(("192.0.2.1", 9))

@pytest.mark.compiler
def test_may_compile_and_connects():
    test_connects()

@pytest.mark.compiler
def test_good_compiles():
    subprocess.run([sys.executable, "-c", "import os; print(os.environ)", "-m", "harness.compiler.worker"], check=True)

def test_good_fixture(user_cache):
    subprocess.run([sys.executable, "-c", "print(1)", "-m", "harness.explain.worker"], check=True)

@pytest.mark.pure
def test_good_pure():
    assert Cache().entries() == []
"""


def run(folder: Path, tests: str, *arguments: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    (folder / "test_inner.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "--tb=line", *arguments],
        cwd=folder,
        env=persons_environment() | {"PYTHONPATH": python_path(REPOSITORY)},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


@pytest.mark.programs
def test_what_a_marker_does_not_allow_fails_the_test(tmp_path: Path) -> None:
    out = run(tmp_path, TESTS)
    ended = {line.split("::")[1].split(" ")[0]: line.split(" ")[0] for line in out.splitlines() if "inner.py::" in line}
    good = {name for name, how in ended.items() if "good" in name and how == "PASSED"}
    assert good == {
        "test_good_loads_dask",
        "test_good_runs_the_command",
        "test_good_compiles",
        "test_good_fixture",
        "test_good_pure",
    }, out
    bad = {name for name, how in ended.items() if how in ("FAILED", "ERROR")}
    assert bad == {
        "test_imports",
        "test_starts",
        "test_swallows",
        "test_has_a_child_that_swallows",
        "test_may_compile_and_starts_a_phone",
        "test_loads_dask",
        "test_runs_the_command",
        "test_connects",
        "test_may_compile_and_connects",
    }, out


@pytest.mark.programs
def test_a_pure_test_with_a_fixture_that_compiles_is_wrong_usage(tmp_path: Path) -> None:
    out = run(tmp_path, "import pytest\n@pytest.mark.pure\ndef test_it(user_cache): pass\n")
    assert "marked pure, and needs compiler" in out


@pytest.mark.programs
def test_what_takes_longest_to_be_made_ready_begins(tmp_path: Path) -> None:
    for name, text in (
        ("test_a.py", "def test_pure(): pass\n"),
        ("test_b.py", "import pytest\npytestmark = pytest.mark.compiler\ndef test_it(): pass\n"),
        ("test_c.py", "import pytest\ndef test_first(): pass\n@pytest.mark.emulator\ndef test_second(): pass\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    out = run(tmp_path, "def test_last(): pass\n", "--collect-only", "-q")
    assert [line.partition("::")[0] for line in out.splitlines() if "::" in line] == [
        *["test_c.py", "test_c.py", "test_b.py", "test_a.py", "test_inner.py"]
    ]


@pytest.mark.programs
def test_a_module_of_pure_tests_that_imports_tvm_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "tvm.py").touch()  # another of that name, which takes no seconds to import
    tests = "import tvm\ndef test_it(): pass\n"
    assert "1 passed" in run(tmp_path, tests), "where others are run, too, one of them may have imported it"
    out = run(tmp_path, tests, "-m", "pure")
    assert "test_inner.py imports TVM" in out


@pytest.mark.parametrize(
    ("program", "need"),
    [
        ("/usr/bin/qemu-aarch64-static ./runner", "emulator"),
        ("bwrap --bind / /", "emulator"),
        ("python -m harness.virtual.ios.daemon", "emulator"),
        ("/home/someone/.cargo/bin/cargo build --release", "compiler"),
        ("cargo-zigbuild zigbuild", "compiler"),
        ("python -m ziglang c++ -c a.cc", "compiler"),
        ("rustup target add aarch64-linux-android", "network"),
        ("python -m ziglang ar rcs a.a", None),
        ("cargo --version", None),
        ("git status", None),
        ("/usr/bin/chromium --headless", "programs"),
        ("/environment/playwright/driver/node /environment/playwright/driver/package/cli.js run-driver", "programs"),
        ("node index.js", None),
        ("python -m pytest suites", "programs"),
        ("python -m harness.cli runs", "programs"),
        ("/environment/bin/harness runs", "programs"),
        ("python -m pytest --help", None),
    ],
)
def test_programs_and_what_they_need(program: str, need: str | None) -> None:
    found = guard.need_of("subprocess.Popen", ("", program.split(), None, None))
    assert (found[0] if found else None) == need


@pytest.mark.programs
def test_make_check_finds_its_tests() -> None:
    """No module of a pure test may bring TVM along: collecting is refused, and `make check` would run nothing."""
    collect = [sys.executable, "-m", "pytest", "tests", "-m", "pure", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        collect, cwd=REPOSITORY, env=persons_environment(), capture_output=True, text=True, encoding="utf-8"
    )
    assert found.returncode == 0, f"{found.stdout[-600:]}{found.stderr[-600:]}"
