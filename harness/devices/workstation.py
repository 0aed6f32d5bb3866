"""Where a run is started from: the state of the sources, and the versions of what takes part."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
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


MOST_COMMITS = 50
_HOOKS_VARIABLES = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"})
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


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


def commits_between(folder: Path, before: str, after: str) -> list[str] | None:
    """The commits behind ``before`` up to ``after``, a line each, the newest first; None if they are not there."""
    if not (_COMMIT.fullmatch(before) and _COMMIT.fullmatch(after)):
        return None
    found = _git(folder, "log", "--oneline", f"--max-count={MOST_COMMITS}", f"{before}..{after}")
    return None if found is None else found.splitlines()


def _git(folder: Path, *arguments: str) -> str | None:
    # What git sets for its hooks names another checkout than the one that is asked about.
    environment = {name: value for name, value in os.environ.items() if name not in _HOOKS_VARIABLES}
    # Without optional locks, asking for the status does not disturb another git command in the checkout.
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
