"""Where a run is started from: the state of the sources, and the versions of what takes part."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

PACKAGES = (
    "harness",
    "pytest",
    "pytest-benchmark",
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "apache-tvm",
    "apache-tvm-ffi",
)


def versions() -> dict[str, str]:
    """Python's and the installed packages' versions, without importing any."""
    packages = {name: version for name in PACKAGES if (version := _version(name))}
    return {"python": platform.python_version(), **packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> tuple[str, bool] | None:
    """The commit of the checkout that holds ``folder``, and whether it has changes; None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    return (commit, bool(status)) if commit and status is not None else None


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks, asking for the status does not disturb another git command in the checkout.
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
