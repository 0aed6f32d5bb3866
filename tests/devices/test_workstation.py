"""The state of a real git checkout, and of a folder that is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.devices.workstation import commits_between, git_state, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_git_state(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--no-verify", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == (commit, False)
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path) == (commit, True)


def test_commits_between(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    commits = []
    for name in ("one", "two", "three"):
        git(tmp_path, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", name)
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    found = commits_between(tmp_path, commits[0], commits[2])
    assert found is not None
    assert [line.split()[1] for line in found] == ["three", "two"]
    assert commits_between(tmp_path, commits[0], "0" * 40) is None
    assert commits_between(tmp_path, commits[0], "--all") is None
    assert commits_between(tmp_path, commits[1], commits[1]) == []


def test_versions_name_what_takes_part() -> None:
    found = versions()
    assert {"python", "pytest", "numpy", "scipy"} <= set(found)
