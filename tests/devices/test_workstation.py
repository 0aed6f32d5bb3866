"""The state of a real git checkout, and of a folder that is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.devices.workstation import commits_between, git_state, repository, versions, web_address
from harness.results.sources import sources


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


def test_a_run_records_the_commit_of_the_project_that_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These tests use a harness from a checkout, whose own commit says nothing about the project."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    assert sources() is None
    git(project, "init", "--quiet")
    git(project, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "one")
    found = sources()
    assert found is not None
    assert found.commit == git(project, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://github.com/someone/ondevice.git", "https://github.com/someone/ondevice"),
        ("https://user:secret@GitHub.com/someone/ondevice", "https://github.com/someone/ondevice"),
        ("https://secret@gitlab.example.org:8443/a/b/c/", "https://gitlab.example.org:8443/a/b/c"),
        ("http://gitlab.local/a/b", "http://gitlab.local/a/b"),
        ("git@github.com:someone/ondevice.git", "https://github.com/someone/ondevice"),
        ("ssh://git@bitbucket.org:2222/someone/ondevice.git", "https://bitbucket.org/someone/ondevice"),
        ("/srv/git/ondevice.git", None),
        ("../ondevice", None),
        ("file:///srv/git/ondevice.git", None),
        ("git://github.com/someone/ondevice", None),
        ("C:\\git\\ondevice", None),
        ("https://[github.com/someone", None),
        ("https://github.com/someone/on device", None),
        ("ext::sh -c touch owned", None),
        ("", None),
    ],
)
def test_a_repositorys_address_is_kept_without_credentials(address: str, found: str | None) -> None:
    assert web_address(address) == found


def test_the_repository_of_a_checkout(tmp_path: Path) -> None:
    assert repository(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert repository(tmp_path) is None
    git(tmp_path, "remote", "add", "origin", "https://user:secret@github.com/someone/ondevice.git")
    assert repository(tmp_path) == "https://github.com/someone/ondevice"


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
