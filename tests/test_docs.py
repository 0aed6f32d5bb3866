"""The documents' links lead somewhere, and the README stays short."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not link.startswith("https://") and (not target.exists() or (anchor and anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One word\n[a](#one-word) [b](#two-words) [c](absent.md) [d](https://example.org)\n")
    assert dead_links(page) == ["#two-words", "absent.md"]


def test_the_readme_fits_a_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 70


def test_every_page_of_the_docs_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8")))
        waiting += [page.parent / link for link in links if link and not link.startswith("https://")]
    assert set((ROOT / "docs").rglob("*.md")) - seen == set()


NAMED = re.compile(r"`((?:harness|benchmarks|tools|tests|device_runner|rust)/[A-Za-z0-9_./-]+)`")


def test_files_that_docs_and_comments_name_are_there() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "harness/*.py", "device_runner/*.rs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    # Pages for contributors name files that they have the reader make.
    names = [name for name in listed.stdout.split() if "contributing/" not in name and name != "CHANGELOG.md"]
    gone = {
        f"{name}: {path}"
        for name in names
        for path in NAMED.findall((ROOT / name).read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert gone == set()


def test_targets_of_make_that_texts_name_are_there() -> None:
    """Cures in programs name them, too; in parentheses a generator's first lines do."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.compile(r"(?:→ |run |`|\()make ([a-z][a-z-]*)")
    listed = subprocess.run(["git", "ls-files", "*.md", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {
        (name, target)
        for name in listed.stdout.splitlines()
        for target in named.findall((ROOT / name).read_text(encoding="utf-8"))
    }
    assert len(found) > 20
    assert {(name, target) for name, target in found if target not in targets} == set()
