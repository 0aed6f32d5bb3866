"""Show how to make a run again, and where its commit can be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from harness.explain.schema import Explanation
from harness.results import Store
from harness.results.errors import RunDamaged, RunNotFound
from harness.results.nightly import NightlyRecord
from harness.results.schema import Git, Manifest

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PATH = re.compile(r"(/[\w.~+-]+){2,}")
_CHANGED = "the checkout had changes that the commit does not hold"
SHORT = 12
"""The number of a commit's digits in a report."""
COMMIT_PATHS = {"github": "commit", "gitlab": "-/commit", "bitbucket": "commits"}
"""The path of commits on a host whose name contains this part."""


def reproduction(manifest: Manifest) -> str | None:
    """Return the commands that make a run again, for a shell in a checkout; None if the run contains none."""
    return _at(manifest.git, manifest.command) if manifest.command else None


def reproduction_doubt(manifest: Manifest) -> str | None:
    """Return why the commands may make another run; None without a doubt."""
    if manifest.git is None:
        return "the run was made outside of a git checkout: take the versions among the facts"
    return _CHANGED if manifest.git.dirty else None


def nightly_reproduction(record: NightlyRecord) -> tuple[str | None, str | None]:
    """Return the commands that measure a nightly run's sides again, and why they may measure others; None for neither.

    If a run's suites asked for it, they are the run's own.
    """
    plan = record.plan
    if plan.run is not None:
        try:
            manifest = Store(record.folder.parents[1]).find(plan.run).manifest()
        except (RunNotFound, RunDamaged):
            return None, f"run {plan.run}, whose suites asked for it, is not among the results"
        return reproduction(manifest), reproduction_doubt(manifest)
    candidate = ["--candidate", plan.candidate] if plan.candidate else []
    calibrate = ["--calibrate", str(plan.calibrate)] if plan.calibrate else []
    command = plan.command or ["harness", "nightly", "--baseline", plan.baseline, *candidate, *calibrate]
    # Both sides come from baselines unless B is made of the sources.
    git = None if candidate or calibrate else next((unit.b.git for unit in plan.units if unit.b.git), None)
    doubts = [] if plan.command else ["its other options were not kept, such as --device"]
    doubts += [_CHANGED] if git and git.dirty else []
    return _at(git, command), "; ".join(doubts) or None


def explanation_reproduction(found: Explanation) -> str:
    """Return the command that explains the same item of the same run again, on the same devices."""
    return shlex.join(found.command or ["harness", "explain", found.run_id, "--item", found.name])


def _at(git: Git | None, command: Sequence[str]) -> str:
    """Return the command for a shell, at a commit if one is known."""
    known = git is not None and _COMMIT.fullmatch(git.commit)
    return f"git checkout {git.commit} && {shlex.join(command)}" if git and known else shlex.join(command)


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
