"""`tools/setup` in a checkout that is set up: what it looks at all the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = ("tools/setup", "tools/apt.sh", "pyproject.toml", "requirements.lock", "Cargo.lock")
"""What the stamp of an environment is made of."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in (*SETTINGS, "Cargo.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    stamp = hashlib.sha256(b"".join((folder / name).read_bytes() for name in SETTINGS)).hexdigest()
    (folder / ".venv").mkdir()
    (folder / ".venv/.harness-setup").write_text(f"{stamp}\n")
    return folder


def set_up(checkout: Path, rustc: str) -> subprocess.CompletedProcess[str]:
    """Run it where ``rustc`` is a script of these lines."""
    programs = checkout.parent / "bin"
    programs.mkdir()
    (programs / "rustc").write_text(f"#!/bin/sh\n{rustc}\n")
    (programs / "rustc").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    return subprocess.run(
        [str(checkout / "tools/setup")], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("version", ["1.70.0", "1.87.0", "1.9.0"])
def test_a_rust_that_is_too_old_is_named_with_its_cure(checkout: Path, version: str) -> None:
    done = set_up(checkout, f"echo rustc {version} '(0123abcd 2023-06-01)'")
    assert done.returncode == 3
    assert done.stderr.startswith(f"setup: Rust {version} is too old: 1.88 is needed\n  → rustup update stable")


@pytest.mark.parametrize("rustc", ["echo rustc 1.88.0 '(0123abcd 2025-06-01)'", "echo rustc 1.100.1", "exit 1"])
def test_any_other_is_left_to_the_rest(checkout: Path, rustc: str) -> None:
    done = set_up(checkout, rustc)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


OFFERED = """
note() { echo "$*"; }
. tools/apt.sh
if apt_offers llvm-19; then echo offered; else echo lacking; fi
if apt_offers llvm-20; then echo offered; else echo lacking; fi
"""


def asked(checkout: Path, *, lists: str, update: str = "exit 0") -> tuple[list[str], list[str]]:
    """Ask twice whether apt offers packages, of which its lists have one; return what was printed, and apt's calls."""
    programs, calls = checkout.parent / "apt", checkout.parent / "calls"
    programs.mkdir(exist_ok=True)
    for name, lines in (("apt-get", f"echo $* >> {calls}; {update}"), ("apt-cache", f'[ "$2" = "{lists}" ]')):
        (programs / name).write_text(f"#!/bin/sh\n{lines}\n")
        (programs / name).chmod(0o755)
    calls.write_text("")
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["bash", "-euc", OFFERED]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), calls.read_text().splitlines()


def test_a_package_that_debian_lacks_is_looked_for_once_a_day(checkout: Path) -> None:
    reading = "reading Debian's package lists"
    assert asked(checkout, lists="none", update="exit 100") == ([reading, "lacking"] * 2, ["-qq update"] * 2)
    assert asked(checkout, lists="none") == ([reading, "lacking", "lacking"], ["-qq update"])
    assert asked(checkout, lists="none") == (["lacking", "lacking"], [])
    stamp, day = checkout / ".venv/.harness-apt", 24 * 3600
    os.utime(stamp, (stamp.stat().st_mtime - day - 60,) * 2)
    assert asked(checkout, lists="llvm-20") == ([reading, "lacking", "offered"], ["-qq update"])


def test_a_package_in_the_lists_at_hand_needs_no_network(checkout: Path) -> None:
    assert asked(checkout, lists="llvm-19")[0][0] == "offered"
