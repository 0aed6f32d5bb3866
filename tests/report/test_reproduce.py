"""How to make a run again, and the page of its commit: read by a real shell, and never anything that attacks one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.report import report_run, to_markdown
from harness.report.html import html_report
from harness.report.reproduce import commit_link, reproduction, reproduction_doubt
from harness.results import Git, Manifest
from tests.report.html.pages import Elements
from tests.results.samples import make_run

COMMIT = "c0ffee" * 6 + "beef"
ATTACK = "x; touch owned"
# A shell in which both programs print what they were called with.
ECHOING = "git() { printf '%s\\n' \"$@\"; }; pytest() { printf '%s\\n' \"$@\"; }; "


def manifest(*, git: Git | None, command: list[str]) -> Manifest:
    return Manifest(run_id="r", started="2026-05-01T12:00:00Z", git=git, command=command)


def shell(command: str, folder: Path) -> list[str]:
    done = subprocess.run(["sh", "-c", ECHOING + command], capture_output=True, text=True, cwd=folder, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "arguments",
    [["suites", "--device", "host"], ["--words", "my words.tsv", "--lang", "it's"], [ATTACK, "$(touch owned)", "`id`"]],
)
def test_a_shell_reads_what_the_run_was_called_with(tmp_path: Path, arguments: list[str]) -> None:
    command = reproduction(manifest(git=Git(commit=COMMIT, dirty=False), command=["pytest", *arguments]))
    assert command is not None
    assert shell(command, tmp_path) == ["checkout", COMMIT, *arguments]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("commit", [ATTACK, "--upload-pack=x", "HEAD", "c0ffee"])
def test_what_is_no_commit_is_not_checked_out(commit: str) -> None:
    assert reproduction(manifest(git=Git(commit=commit, dirty=False), command=["pytest"])) == "pytest"


def test_why_it_may_become_another_run() -> None:
    doubts = [
        reproduction_doubt(manifest(git=git, command=["pytest"]))
        for git in (None, Git(commit=COMMIT, dirty=True), Git(commit=COMMIT, dirty=False))
    ]
    assert [bool(doubt) for doubt in doubts] == [True, True, False]
    assert reproduction(manifest(git=None, command=[])) is None


@pytest.mark.parametrize(
    ("repository", "page"),
    [
        ("https://github.com/someone/ondevice", f"https://github.com/someone/ondevice/commit/{COMMIT}"),
        ("https://gitlab.example.org/a/b/c", f"https://gitlab.example.org/a/b/c/-/commit/{COMMIT}"),
        ("http://gitlab.local:8080/a/b", f"http://gitlab.local:8080/a/b/-/commit/{COMMIT}"),
        ("https://bitbucket.org/a/b", f"https://bitbucket.org/a/b/commits/{COMMIT}"),
        ("https://user:secret@github.com/a/b.git", f"https://github.com/a/b/commit/{COMMIT}"),
        ("https://example.org/a/b", None),
        ("https://notgithub.example.org/a/b", None),
        ("https://github.com/onlyone", None),
        ('https://github.com/a/b"><script>', None),
        ("javascript:alert(1)//github.com/a/b", None),
        ("file:///github.com/a/b", None),
        ("https://[github.com/a/b", None),
        (None, None),
    ],
)
def test_only_pages_of_known_hosts_are_linked(repository: str | None, page: str | None) -> None:
    assert commit_link(Git(commit=COMMIT, dirty=False, repository=repository)) == page
    assert commit_link(Git(commit=ATTACK, dirty=False, repository=repository)) is None


def test_the_page_links_the_commit_and_every_face_shows_how_to_make_the_run_again(tmp_path: Path) -> None:
    git = Git(commit=COMMIT, dirty=False, repository="https://user:secret@github.com/someone/ondevice.git")
    run = make_run(tmp_path, git=git)
    page = html_report([run])
    links = {
        attributes.get("href"): attributes.get("rel")
        for tag, attributes in Elements(page).tags
        if tag == "a" and (attributes.get("href") or "").startswith("http")
    }
    assert links == {f"https://github.com/someone/ondevice/commit/{COMMIT}": "noreferrer"}
    again = f"git checkout {COMMIT} && pytest suites --device host"
    assert again in Elements(page).text
    assert again in to_markdown(report_run(run)).replace("\\", "")


def test_a_repository_that_attacks_the_page_stays_text(tmp_path: Path) -> None:
    git = Git(commit=COMMIT, dirty=True, repository="javascript:alert(1)")
    found = Elements(html_report([make_run(tmp_path, git=git)]))
    assert [one for tag, one in found.tags if tag == "a" and not (one.get("href") or "").startswith("#")] == []
    assert COMMIT[:12] in found.text
