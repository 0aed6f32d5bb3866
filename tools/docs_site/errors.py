"""The reference of errors and exit codes, from the classes of the exceptions.

The sources are read, and only a module whose cures are computed is imported: some of the others bring the compiler.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.cli.app import INTERRUPTED
from harness.core.errors import ExitCode
from tools.docs_site.text import paragraphs, sentence

ROOT = Path(__file__).resolve().parents[2]
PAGE = "reference/errors.md"
CODES_PAGE = "reference/exit-codes.md"
BASE = "HarnessError"
ROOMS = {
    "cli": "Commands",
    "pytest_plugin": "The pytest plugin",
    "models": "Models",
    "compiler": "The compiler",
    "native": "Builds, apps and signatures",
    "devices": "Devices",
    "virtual": "Virtual phones",
    "lab": "A lab",
    "run": "Runs",
    "results": "Stored results",
    "regression": "Nightly runs",
    "validate": "Comparisons",
    "profiling": "Profiles",
    "explain": "Explanations",
    "report": "Reports",
    "protocol": "The runner's protocol",
    "core": "Everywhere",
}
"""Folders of ``harness`` with errors, in the order of the page, and their titles."""
MEANINGS = {
    0: "Everything agrees, or the command did what it was asked to do.",
    1: "The model or the build under test is at fault: a mismatch, or a regression.",
    2: "The command line, or a file that it names, cannot be used. Nothing was run.",
    3: "The run could not be made or decided: a device, a compiler, a disk or a stored file is at fault.",
    INTERRUPTED: "Somebody pressed Ctrl-C.",
}


@dataclass(frozen=True)
class Error:
    """Describe one class of errors."""

    name: str
    module: str
    when: str
    cure: str
    exit_code: int

    @property
    def room(self) -> str:
        return self.module.split(".")[1]


@functools.cache
def errors() -> tuple[Error, ...]:
    """Return every class of errors that somebody can see, by module and name."""
    classes = {(found.module, found.name): found for found in _classes()}
    parents = _parents(classes)
    family = {key for key in classes if key[1] == BASE}
    while more := {key for key, parent in parents.items() if parent in family} - family:
        family |= more
    bases = {parents[key] for key in family}
    found = []
    for key in sorted(family):
        own = classes[key]
        when = ast.get_docstring(own.node) or ""
        if own.name == BASE or (key in bases and when.startswith("Base of")):
            continue  # It is never raised itself.
        chain = [classes[one] for one in _chain(key, parents)]
        cure = next((value for one in chain if (value := _attribute(one, "cure"))), "")
        status = next((value for one in chain if (value := _attribute(one, "exit_code"))), "")
        found.append(Error(own.name, own.module, when, cure, int(status or ExitCode.INFRASTRUCTURE)))
    return tuple(found)


def anchor(error: Error) -> str:
    """Return the anchor of an error: its name, and its kind of device where another has an error of that name."""
    several = sum(one.name == error.name for one in errors()) > 1
    return f"{error.name}-{error.module.split('.')[2]}" if several else error.name


def pages() -> dict[str, str]:
    """Return the pages by their path in docs."""
    return {PAGE: "\n".join(_page()) + "\n", CODES_PAGE: "\n".join(_codes()) + "\n"}


def _page() -> Iterator[str]:
    yield "# Errors and their cures"
    yield ""
    yield (
        f"The {len(errors())} kinds of errors. A command prints the message, and below it the cure; a test of "
        "`pytest suites` fails with both. The message names what exactly is wrong. Where no cure stands here, the "
        "message brings one of its own. [Exit codes](exit-codes.md) are few and stable."
    )
    for room, title in ROOMS.items():
        yield from ["", f"## {title}", ""]
        for error in (one for one in errors() if one.room == room):
            yield f'<span id="{anchor(error)}"></span>`{error.name}` (exit code {error.exit_code}, `{error.module}`)'
            yield f":   {' '.join(paragraphs(error.when, PAGE))}"
            if error.cure:
                yield f"    <br>→ {sentence(error.cure, PAGE)}"
            yield ""


def _codes() -> Iterator[str]:
    yield from ["# Exit codes", "", "The same for every command and for `pytest suites`.", ""]
    yield from ["| Code | Name | Meaning |", "|---|---|---|"]
    for status in ExitCode:
        yield f"| {int(status)} | `{status.name}` | {MEANINGS[status]} |"
    yield f"| {INTERRUPTED} | | {MEANINGS[INTERRUPTED]} |"
    yield ""
    yield "pytest has two of its own: 4 for an option that it cannot read, and 5 where no test was selected."
    for status in ExitCode:
        if named := [one for one in errors() if one.exit_code == status]:
            yield from ["", f"## Errors with code {int(status)}", ""]
            yield ", ".join(
                f"[`{one.name}`](errors.md#{anchor(one)})" for one in sorted(named, key=lambda one: one.name)
            )


@dataclass(frozen=True)
class _Class:
    """Hold a class as its source has it."""

    name: str
    module: str
    node: ast.ClassDef

    @property
    def base(self) -> str:
        return ast.unparse(self.node.bases[0]).rpartition(".")[2] if self.node.bases else ""


_Key = tuple[str, str]
"""A class's module and name."""


def _classes() -> Iterator[_Class]:
    for path in sorted((ROOT / "harness").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield _Class(node.name, module, node)


def _parents(classes: dict[_Key, _Class]) -> dict[_Key, _Key | None]:
    """Return the first base of each class: that of its own module, or else the one that has the name."""
    named = {name: (module, name) for module, name in reversed(classes)}
    found = {}
    for key, own in classes.items():
        beside = (own.module, own.base)
        found[key] = beside if beside in classes else named.get(own.base)
    return found


def _chain(key: _Key, parents: dict[_Key, _Key | None]) -> Iterator[_Key]:
    at: _Key | None = key
    while at is not None:
        yield at
        at = parents[at]


def _attribute(own: _Class, name: str) -> str:
    """Return the value of a class's own attribute as text; of a computed one by importing the module."""
    for one in own.node.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = one.value if isinstance(one, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Constant):
                return str(value.value)
            found = getattr(getattr(importlib.import_module(own.module), own.name), name)
            # A cure may name the interpreter by its path on this machine.
            return str(int(found)) if isinstance(found, ExitCode) else str(found).replace(sys.executable, "python")
    return ""
