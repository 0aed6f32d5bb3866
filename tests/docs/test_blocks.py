"""Every block of the pages is run, or has the mark of what it needs; options of commands that are not run are right."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from harness.cli.app import app, load_commands
from harness.pytest_plugin.options import option_names
from tests.docs.blocks import MARKS, ROOT, SHELLS, Block, blocks, commands, renewed
from tests.docs.run import RUN

ELSEWHERE = {
    "docs/contributing/": "tests/contributing/test_pages.py",
    "docs/ship-it.md": "tests/mobile/test_ship_it.py",
    "docs/tutorials/ship-it.md": "tests/mobile/test_ship_it.py",
    "docs/tutorials/your-own-model.md": "tests/test_your_model.py",
    "docs/your-model.md": "tests/test_your_model.py",
}
"""Pages whose blocks other tests run."""


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "docs/*.md", "README.md", "CONTRIBUTING.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if "docs/reference/" not in name and (ROOT / name).exists()]


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_every_block_names_its_language() -> None:
    assert [block.place for block in all_blocks() if not block.language] == []


def test_every_command_and_program_is_run_or_marked() -> None:
    elsewhere = tuple(ELSEWHERE)
    left = [
        block.place
        for block in all_blocks()
        if (block.language in SHELLS or (block.language == "python" and not block.title))
        and block.title not in MARKS
        and name(block.page) not in RUN
        and not name(block.page).startswith(elsewhere)
    ]
    assert left == []


def test_every_shown_output_is_compared() -> None:
    elsewhere = tuple(ELSEWHERE)
    shown = [name(block.page) for block in all_blocks() if block.is_output]
    assert len(shown) >= 3
    assert {page for page in shown if page not in RUN and not page.startswith(elsewhere)} == set()


def test_other_tests_run_the_pages_that_they_are_to_run() -> None:
    for page, test in ELSEWHERE.items():
        assert page.rstrip("/") in (ROOT / test).read_text(encoding="utf-8"), f"{test} does not name {page}"


def marked_commands() -> list[str]:
    found = {
        command: None
        for block in all_blocks()
        if block.language in SHELLS and (block.title in MARKS or name(block.page) in RUN)
        for command, _ in commands(block.body)
    }
    return list(found)


def words_of(command: str, tool: str) -> list[str] | None:
    """The arguments of a call of a tool; None if the command is none, or is one for the shell to understand."""
    match = re.match(rf"^(?:[A-Z_]+=\S+ )*{tool}\b(?P<rest>[^|;&]*)", command)
    return shlex.split(match["rest"].partition(" >")[0]) if match else None


@pytest.mark.parametrize("command", [one for one in marked_commands() if words_of(one, "harness")])
def test_a_harness_command_has_these_options(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HARNESS_LAB_SCHEDULER", "HARNESS_LAB_STORE"):
        monkeypatch.setenv(variable, "tls://192.0.2.7:8786")
    # Commands that read stored runs want their folder to be there.
    for folder in ("results", "build", *re.findall(r"--results-dir (\S+)", command)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert parsed(words_of(command, "harness") or [])


def parsed(words: list[str]) -> bool:
    load_commands()
    found = typer.main.get_command(app)
    called = "harness"
    while words and isinstance(found, TyperGroup) and words[0] in found.commands:
        called, words = words[0], words[1:]
        found = found.commands[called]
    if words in (["--help"], []) and isinstance(found, TyperGroup):
        return True
    assert isinstance(found, TyperCommand) or words[0].startswith("-"), f"no command {called} {' '.join(words)}"
    return found.make_context(called, list(words)) is not None


def test_an_option_that_is_not_there_is_found() -> None:
    with pytest.raises(TyperException, match="no-such-thing"):
        parsed(["runs", "--no-such-thing"])


def test_pytest_and_programs_have_these_options_and_files(pytestconfig: pytest.Config) -> None:
    parser = pytestconfig._parser
    groups = [*parser._groups, parser._anonymous]
    known = {*option_names(), *(name for group in groups for one in group.options for name in one.names())}
    wrong = []
    for command in marked_commands():
        options = [word.partition("=")[0] for word in words_of(command, "pytest") or [] if word.startswith("--")]
        programs = [word for word in (words_of(command, "python") or [])[:1] if word.endswith(".py")]
        wrong += [f"{command}: {option}" for option in options if option not in known]
        wrong += [f"{command}: {program}" for program in programs if not (ROOT / program).exists()]
    assert wrong == []


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("PASS 2.85 µs\n", "PASS 31 ns\n", "PASS 31 ns\n"),
        ("a 1\n…\nz 2\n", "a 10\nb\nc\nz 20\n", "a 10\n…\nz 20\n"),
        ("…\nlast … 3 of 4\n", "x\nlast one, 5 of 6\n", "…\nlast … 5 of 6\n"),
        ("results/20261130-135505-658-0c94\n", "results/20261130-135505-658-0c94\n", None),
    ],
)
def test_numbers_of_an_output_are_renewed(shown: str, printed: str, expected: str | None) -> None:
    assert renewed(shown, printed) == (expected or shown)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("PASS\n", "FAIL\n"), ("a\nb\n", "a\n"), ("a\n", "a\nb\n"), ("…\nb\n", "a\nc\n"), ("a\n…\nb\n", "a\nx\n")],
)
def test_another_output_is_found(shown: str, printed: str) -> None:
    with pytest.raises(ValueError, match="printed"):
        renewed(shown, printed)
