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
