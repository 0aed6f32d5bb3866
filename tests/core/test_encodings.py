"""Files and programs are read and written as UTF-8, whatever the locale is: every call names its encoding."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.devices.workstation import git_state
from tests.environment import REPOSITORY

FOLDERS = ("harness", "tools", "benchmarks")
FILES = ("path", "file", "/", "log")
"""Words of what an ``open`` without arguments opens as text; devices and channels have one too."""


def calls_without_encoding(source: str) -> Iterator[int]:
    """Lines of calls that read or write text in the locale's encoding."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_text(node) and not {None, "encoding"} & {k.arg for k in node.keywords}:
            yield node.lineno


def _is_text(call: ast.Call) -> bool:
    function = call.func
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if isinstance(function, ast.Attribute):
        name, of = function.attr, ast.unparse(function.value)
    else:
        name, of = getattr(function, "id", ""), ""
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name in ("run", "Popen", "check_output", "NamedTemporaryFile", "TemporaryFile"):
        chosen = named.get("text") or named.get("universal_newlines") or named.get("mode")
        return isinstance(chosen, ast.Constant) and bool(chosen.value) and "b" not in str(chosen.value)
    if name != "open" or of == "os":
        return False
    mode = named.get("mode") or next(iter(call.args[0 if of else 1 :]), None)
    if mode is None:
        return any(word in of for word in FILES) if of else len(call.args) == 1
    return isinstance(mode, ast.Constant) and set(str(mode.value)) <= set("rwaxt+")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_call_names_its_encoding(folder: str) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for line in calls_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "call",
    ["p.read_text()", "p.write_text(x)", "open(p)", "open(p, 'w')", "path.open()", "p.open('a')", "run(c, text=True)"],
)
def test_such_a_call_is_found(call: str) -> None:
    assert list(calls_without_encoding(call)) == [1]
    assert list(calls_without_encoding(f"{call[:-1]}, encoding='utf-8')".replace("(, ", "("))) == []


@pytest.mark.parametrize("call", ["p.read_bytes()", "open(p, 'rb')", "p.open('wb')", "run(c)", "channel.open()"])
def test_bytes_have_none(call: str) -> None:
    assert list(calls_without_encoding(call)) == []


def test_a_hooks_git_variables_do_not_turn_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git sets these for its hooks; a harness that runs in one asks about its own folder all the same."""
    before = git_state(REPOSITORY)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert git_state(REPOSITORY) == before
