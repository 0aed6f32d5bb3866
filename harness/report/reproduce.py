"""Show how to make a run again, and where its commit can be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from harness.results.schema import Git, Manifest

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PATH = re.compile(r"(/[\w.~+-]+){2,}")
SHORT = 12
"""The number of a commit's digits in a report."""
COMMIT_PATHS = {"github": "commit", "gitlab": "-/commit", "bitbucket": "commits"}
"""The path of commits on a host whose name contains this part."""


def reproduction(manifest: Manifest) -> str | None:
    """Return the commands that make a run again, for a shell in a checkout; None if the run contains none."""
    if not manifest.command:
        return None
    command = shlex.join(manifest.command)
    git = manifest.git
    known = git is not None and _COMMIT.fullmatch(git.commit)
    return f"git checkout {git.commit} && {command}" if git and known else command


def reproduction_doubt(manifest: Manifest) -> str | None:
    """Return why the commands may make another run; None without a doubt."""
    if manifest.git is None:
        return "the run was made outside of a git checkout: take the versions among the facts"
    return "the checkout had changes that the commit does not hold" if manifest.git.dirty else None


def commit_link(git: Git) -> str | None:
    """Return the web page of a commit; None unless its repository is on a host with known pages.

    Anyone may have written the manifest, so the address is checked before it is used.
    """
    if git.repository is None or not _COMMIT.fullmatch(git.commit):
        return None
    try:
        parts = urlsplit(git.repository)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    path = parts.path.removesuffix(".git")
    kind = next((label for label in host.split(".") if label in COMMIT_PATHS), None)
    if parts.scheme not in ("http", "https") or kind is None or not _PATH.fullmatch(path):
        return None
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}/{COMMIT_PATHS[kind]}/{git.commit}"


def commit_links(found: Iterable[Git | None]) -> Mapping[str, str]:
    """Return the page of every commit that has one."""
    return {git.commit: link for git in found if git and (link := commit_link(git))}
