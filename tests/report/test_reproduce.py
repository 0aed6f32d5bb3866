"""How to make a run again, and the page of its commit: read by a real shell, and never anything that attacks one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.explain.schema import Explanation
from harness.report import report_run, to_markdown
from harness.report.explanation import explanation_report
from harness.report.html import explanation_page, html_report
from harness.report.nightly import nightly_report
from harness.report.reproduce import commit_link, nightly_reproduction, reproduction, reproduction_doubt
from harness.results import Git, Manifest
from harness.results.nightly import NightlyRecord
from tests.nightly import make_plan
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


def record(folder: Path, **changes: Any) -> NightlyRecord:
    """A nightly run whose candidate comes from the sources of COMMIT."""
    runners = folder / "runners"
    runners.mkdir(exist_ok=True)
    plan = make_plan(runners)
    b = plan.units[0].b.model_copy(update={"git": Git(commit=COMMIT, dirty=bool(changes.pop("dirty", False)))})
    units = [plan.units[0].model_copy(update={"b": b})]
    results = folder / "results"
    return NightlyRecord(results / "nightly" / plan.night_id, plan.model_copy(update={"units": units, **changes}), None)


ASKED = ["harness", "nightly", "--baseline", "main"]


def test_a_nightly_run_is_made_again_by_its_command_at_the_commit_of_its_sources(tmp_path: Path) -> None:
    command = [*ASKED, "--words", "40", "--markdown", "my file.md"]
    told, doubt = nightly_reproduction(record(tmp_path, command=command))
    assert told == f"git checkout {COMMIT} && harness nightly --baseline main --words 40 --markdown 'my file.md'"
    assert doubt is None
    assert nightly_reproduction(record(tmp_path, command=command, dirty=True))[1] is not None
    told, _ = nightly_reproduction(record(tmp_path, command=[*ASKED, ATTACK]))
    assert told is not None
    assert told.endswith(f"--baseline main '{ATTACK}'")


@pytest.mark.parametrize(
    ("plan", "more"), [({"candidate": "next"}, "--candidate next"), ({"calibrate": 9}, "--calibrate 9")]
)
def test_what_comes_from_baselines_needs_no_commit(tmp_path: Path, plan: dict[str, Any], more: str) -> None:
    """Of before the command was kept: what else it was called with is not known."""
    told, doubt = nightly_reproduction(record(tmp_path, **plan))
    assert told == f"harness nightly --baseline main {more}"
    assert doubt is not None
    assert "--device" in doubt


def test_a_gate_is_made_again_by_its_run(tmp_path: Path) -> None:
    of_a_run = record(tmp_path, run="20260501-120000-000-a000")
    again, doubt = nightly_reproduction(of_a_run)
    assert again is None
    assert doubt is not None
    assert "not among the results" in doubt
    run = make_run(tmp_path / "results", git=Git(commit=COMMIT, dirty=False))
    again, doubt = nightly_reproduction(record(tmp_path, run=run.run_id))
    assert (again, doubt) == (f"git checkout {COMMIT} && pytest suites --device host", None)


def test_every_face_of_a_nightly_run_says_how_to_make_it_again(tmp_path: Path) -> None:
    night = record(tmp_path, command=ASKED)
    again = f"git checkout {COMMIT} && harness nightly --baseline main"
    found = Elements(html_report([], [night])).text
    assert f"Make this nightly run again{again}" in found
    assert again in to_markdown(nightly_report(night)).replace("\\", "")


def test_every_face_of_an_explanation_says_how_to_make_it_again() -> None:
    found = Explanation(
        run_id="20260501-120000-000-a000", item="it's", model="small", variant="small", rows=[], archive_sha256="0" * 64
    )
    again = """harness explain 20260501-120000-000-a000 --item 'small/it'"'"'s'"""
    assert again in Elements(explanation_page(found)).text
    assert again in to_markdown(explanation_report(found)).replace("\\", "")
    elsewhere = found.model_copy(update={"command": ["harness", "explain", "failure 1.zip", "--device", "host"]})
    assert "harness explain 'failure 1.zip' --device host" in Elements(explanation_page(elsewhere)).text


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
