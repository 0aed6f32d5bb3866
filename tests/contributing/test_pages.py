"""docs/contributing as a stranger follows it: in a scratch copy, each file is written, changed and run as described."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.installation import DISTRIBUTION

# Python 3.10 has no tomllib; there pytest brings tomli.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/contributing"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FOLLOWED = [page for page in sorted(PAGES.glob("*.md")) if any(name for _, name, _ in BLOCK.findall(page.read_text()))]
"""Pages whose blocks name their file. A page of another form has a test of its own."""
NEEDED = [
    "Cargo.lock",
    "Cargo.toml",
    "benchmarks",
    "device_runner",
    "harness",
    "rust",
    "suites",
    "tests",
    "tools",
    "conftest.py",
    "pyproject.toml",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The tracked files that a page may touch, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z", *NEEDED], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tmp_path / name)
    return tmp_path


def run(command: list[str], folder: Path, given: str | None = None) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        # The scratch folder is no repository, also where the temporary folder lies in one.
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{command} of the page:\n{given or ''}\n{done.stdout}{done.stderr}"
    return done.stdout


def set_up(folder: Path) -> None:
    """Make the entry points of a scratch copy known, as `make setup` does those of a checkout."""
    groups = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    facts = folder / f"{DISTRIBUTION.replace('-', '_')}-0.dist-info"
    facts.mkdir(exist_ok=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 0\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{a} = {b}\n" for a, b in one.items()) for group, one in groups.items()]
    (facts / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def follow(page: Path, folder: Path) -> str:
    """Do what each block asks for, in order; what the commands print."""
    printed = ""
    for language, name, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if name:
            assert not (folder / name).exists(), f"{name} is there already"
            (folder / name).write_text(body, encoding="utf-8")
        elif language == "diff":
            # Places may have moved since; a passage that is not as the page shows it fails.
            run(["git", "apply", "--recount", "-C1", "-"], folder, body)
        elif language == "sh":
            if (folder / "pyproject.toml").exists():
                set_up(folder)
            printed += run(["bash", "-e"], folder, body)
        else:
            assert language == "console", f"{page.name}: a block of {language} is neither written nor run"
    return printed


@pytest.mark.thorough(keep=["model"])
@pytest.mark.compiler
@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_a_page_can_be_followed_word_for_word(page: Path, checkout: Path) -> None:
    printed = follow(page, checkout)
    assert re.search(r"\d+ passed", printed)
    assert "skipped" not in printed
    text = page.read_text(encoding="utf-8")
    changed = re.findall(r"^\+\+\+ b/(\S+)", text, re.MULTILINE)
    touched = {*changed, *(name for _, name, _ in BLOCK.findall(text) if name)}
    run(["ruff", "check", *touched], checkout)
    run(["ruff", "format", "--check", *touched], checkout)


def test_a_page_of_another_form_has_a_test_of_its_own() -> None:
    assert len(FOLLOWED) >= 2
    tests = [path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")]
    for page in set(PAGES.glob("*.md")) - set(FOLLOWED):
        assert any(f"docs/contributing/{page.name}" in test for test in tests), page.name


def test_contributing_names_every_page() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {f"docs/contributing/{page.name}" for page in PAGES.glob("*.md")} == set(
        re.findall(r"\((docs/contributing/[^)]+)\)", text)
    )


def test_a_page_whose_passage_is_not_in_the_code_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    page = tmp_path / "page.md"
    page.write_text("```diff\n--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,3 @@\n one\n+new\n four\n```\n")
    with pytest.raises(AssertionError, match="git"):
        follow(page, tmp_path)
    page.write_text("```diff\n--- a/a.txt\n+++ b/a.txt\n@@ -9,2 +9,3 @@\n two\n+new\n three\n```\n")
    follow(page, tmp_path)
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\nnew\nthree\n"
