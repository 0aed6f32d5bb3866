"""Describe where a run is started: the state of the sources, and the versions of the packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from harness.core.commands import run_command
from harness.core.installation import DISTRIBUTION

PACKAGES = {"harness": DISTRIBUTION} | {
    name: name
    for name in (
        "pytest",
        "pytest-benchmark",
        "numpy",
        "scipy",
        "torch",
        "transformers",
        "apache-tvm",
        "apache-tvm-ffi",
    )
}
"""Maps a package's name in runs to that of its distribution."""


MOST_COMMITS = 50
_HOOKS_VARIABLES = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"})
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SCP = re.compile(r"(?:[^@/:]+@)?([A-Za-z0-9.-]+):(?!/)(.+)")
"""Matches the short form of an ssh address: ``git@github.com:owner/name.git``."""
_REPOSITORY = re.compile(r"[\w.~+-]+(/[\w.~+-]+)*")


def versions() -> dict[str, str]:
    """Return Python's and the installed packages' versions, without importing any."""
    packages = {name: version for name, package in PACKAGES.items() if (version := _version(package))}
    return {"python": platform.python_version(), **packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> tuple[str, bool] | None:
    """Return the commit of the checkout that contains ``folder``, and whether it has changes; None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    return (commit, bool(status)) if commit and status is not None else None


def repository(folder: Path) -> str | None:
    """Return the web address of the repository from which the checkout of ``folder`` came.

    None for a checkout without a remote repository, or with one on this machine.
    """
    address = _git(folder, "remote", "get-url", "origin")
    return web_address(address) if address else None


def web_address(address: str) -> str | None:
    """Return a repository's http, https or ssh address as https, without user, password or ``.git``.

    Returns None for any other address.
    """
    if "://" not in address:
        short = _SCP.fullmatch(address)
        return _plain_address("https", short[1], short[2]) if short else None
    try:
        parts: SplitResult = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.scheme not in ("http", "https", "ssh"):
        return None
    if parts.scheme == "ssh":
        return _plain_address("https", host, parts.path)
    return _plain_address(parts.scheme, f"{host}:{port}" if port else host, parts.path)


def _plain_address(scheme: str, host: str, path: str) -> str | None:
    name = path.strip("/").removesuffix(".git")
    return f"{scheme}://{host.lower()}/{name}" if _REPOSITORY.fullmatch(name) else None


def commits_between(folder: Path, before: str, after: str) -> list[str] | None:
    """Return the commits after ``before`` up to ``after``, one per line, newest first; None if they do not exist."""
    if not (_COMMIT.fullmatch(before) and _COMMIT.fullmatch(after)):
        return None
    found = _git(folder, "log", "--oneline", f"--max-count={MOST_COMMITS}", f"{before}..{after}")
    return None if found is None else found.splitlines()


def _git(folder: Path, *arguments: str) -> str | None:
    # Git sets variables for its hooks that name another checkout than the one asked about.
    environment = {name: value for name, value in os.environ.items() if name not in _HOOKS_VARIABLES}
    # Without optional locks, asking for the status does not disturb another git command in the checkout.
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = run_command(command, deadline=20, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
