"""Plan what ``harness init`` writes into a project, then write it whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.core.commands import run_command
from harness.core.errors import HarnessError, UsageError
from harness.core.installation import DISTRIBUTION

TEMPLATES = Path(__file__).parent / "project_files"
MODEL = "ondevice/model.py"
WORKFLOW = ".github/workflows/ondevice.yml"
CONFTEST = "conftest.py"
INI = "pytest.ini"
GITIGNORE = ".gitignore"
IGNORED = "# Runs of the harness, whose baselines are worth keeping.\n/results/*\n!/results/baselines/\n/.benchmarks/\n"
CONFIGURATIONS = {
    "pytest.toml": r"",
    ".pytest.toml": r"",
    "pytest.ini": r"",
    ".pytest.ini": r"",
    "pyproject.toml": r"^\[tool\.pytest(\.ini_options)?\]",
    "tox.ini": r"^\[pytest\]",
    "setup.cfg": r"^\[tool:pytest\]",
}
"""The files in which pytest looks for its configuration, in its order, and the section that each must contain."""
ASKED = re.compile(r"^\s*harness_models\s*=|harness\.pytest_plugin", re.MULTILINE)
"""Matches a project's file that has turned the options on."""
HELP_SECONDS = 60.0


class ProjectUnwritable(HarnessError):
    """The project's folder takes no new files."""

    cure = "run it as a user who may write there, or print what it would write: harness init --dry-run"


class NoProject(UsageError):
    """There is no folder of that name."""

    cure = "make the folder first, or run harness init inside it"


@dataclass(frozen=True)
class ProjectPlan:
    """Hold the files to write, by their names below ``folder``, the files left alone, and advice for a person."""

    folder: Path
    files: Mapping[str, str]
    kept: tuple[str, ...]
    advice: tuple[str, ...]
    option: str
    """The option that names a device in this project."""


def plan_project(folder: Path) -> ProjectPlan:
    """Look at a project and decide what to write; raises NoProject."""
    if not folder.is_dir():
        raise NoProject(f"there is no folder {folder}")
    folder = folder.resolve()
    option = "--harness-device" if _has_device_option(folder) else "--device"
    advice: list[str] = []
    if option != "--device":
        advice.append("Another plugin, or conftest.py, has an option --device here. The harness's is --harness-device.")
    wanted = {MODEL: _template("model.py", option), WORKFLOW: _template("workflow.yml", option)}
    name, text = _turning_on(folder, option, advice)
    if name:
        wanted[name] = text
    inside_git = any((parent / ".git").exists() for parent in (folder, *folder.parents))
    if not inside_git:
        advice.append(
            "This folder is in no git repository: runs will not know the commit they are of, and the workflow in "
            f"{WORKFLOW} does nothing yet."
        )
    elif not (folder / GITIGNORE).exists():
        wanted[GITIGNORE] = IGNORED
    elif "results/" not in (folder / GITIGNORE).read_text(encoding="utf-8", errors="replace"):
        advice.append(f"Runs are kept in results/. Add to {GITIGNORE}:\n\n{_indented(IGNORED)}")
    there = {name for name in wanted if os.path.lexists(folder / name)}
    return ProjectPlan(
        folder=folder,
        files={name: text for name, text in wanted.items() if name not in there},
        kept=tuple(sorted(there)),
        advice=tuple(advice),
        option=option,
    )


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files, none over another; raises ProjectUnwritable, with nothing left behind."""
    with ExitStack() as undo:
        try:
            partial = {name: _written_beside(folder / name, text, undo) for name, text in files.items()}
            for name, path in partial.items():
                # This is a link and not a rename, because a link is refused if a file has appeared in the meantime.
                os.link(path, folder / name)
                undo.callback((folder / name).unlink, missing_ok=True)
        except OSError as error:
            why = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
            cure = "free some space and run it again" if error.errno in why else None
            raise ProjectUnwritable(
                f"cannot write into {folder}: {why.get(error.errno or 0, error.strerror or str(error))}", cure=cure
            ) from error
        undo.pop_all()
        for path in partial.values():
            path.unlink(missing_ok=True)


def configuration(folder: Path) -> Path | None:
    """Return the file that configures pytest for a folder, in it or in a folder above."""
    for parent in (folder, *folder.parents):
        for name, section in CONFIGURATIONS.items():
            path = parent / name
            with suppress(OSError, UnicodeDecodeError):
                if path.is_file() and re.search(section, path.read_text(encoding="utf-8"), re.MULTILINE):
                    return path
    return None


def _turning_on(folder: Path, option: str, advice: list[str]) -> tuple[str, str]:
    """Return the file that turns the options on, and its text; no name if a person has to do it.

    If there is no configuration at all, one of pytest's own is made. Another file would replace an existing
    configuration, so then a ``conftest.py`` is made.
    """
    found, conftest = configuration(folder), folder / CONFTEST
    for path in (found, conftest):
        with suppress(OSError):
            if path is not None and ASKED.search(path.read_text(encoding="utf-8", errors="replace")):
                return path.name if path.parent == folder else "", ""
    if found is None:
        return INI, _template("pytest.ini", option)
    if not conftest.exists():
        return CONFTEST, _template("conftest.py", option)
    model = os.path.relpath(folder / MODEL, found.parent)
    line = f'harness_models = ["{model}"]' if found.suffix == ".toml" else f"harness_models = {model}"
    where = {"setup.cfg": "[tool:pytest]", "pyproject.toml": "pytest's section"}.get(found.name, "[pytest]")
    advice.append(
        f"{found.name} and {CONFTEST} are yours and were left alone. Add this line to {where} of {found}:\n\n    {line}"
    )
    return "", ""


def _has_device_option(folder: Path) -> bool:
    """Return whether ``--device`` is already an option of another plugin or of the project's own ``conftest.py``."""
    command = [sys.executable, "-B", "-m", "pytest", "--help", "-p", "no:cacheprovider"]
    benchmarks = folder / ".benchmarks"  # pytest-benchmark always makes it
    there = benchmarks.exists()
    try:
        done = run_command(command, deadline=HELP_SECONDS, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        if not there:
            _remove_empty(benchmarks)
    options = [line for line in done.stdout.splitlines() if re.match(r"\s+--device[ =,]|\s+--device$", line)]
    return any("--harness-device" not in line for line in options)


def _written_beside(path: Path, text: str, undo: ExitStack) -> Path:
    """Write a file under a temporary name, with the folders above it; ``undo`` removes them again."""
    for parent in reversed([parent for parent in path.parents if not parent.exists()]):
        parent.mkdir()
        undo.callback(_remove_empty, parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    undo.callback(partial.unlink, missing_ok=True)
    partial.write_text(text, encoding="utf-8")
    return partial


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _template(name: str, option: str) -> str:
    text = (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8")
    for mark, value in {"@MODEL@": MODEL, "@DISTRIBUTION@": DISTRIBUTION, "@OPTION@": option}.items():
        text = text.replace(mark, value)
    return text


def _indented(text: str) -> str:
    return textwrap.indent(text.rstrip("\n"), "    ")
