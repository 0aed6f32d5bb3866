"""The examples in docs/examples/: what they are parses, and what they call is there with those options."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from harness.cli.app import app, load_commands

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
WORKFLOW = EXAMPLES / "nightly.github.yml"
_FIELD = r"(\*|[0-9]+)"


def calls(text: str) -> Iterator[list[str]]:
    """Every call of `harness` in shell commands, as words."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r"&&|\|\||[|;]|'(?=\s|$)|\bexec\b", line):
            if re.match(r"\s*harness\s", command):
                yield shlex.split(command)[1:]


def command(name: str, arguments: list[str]) -> tuple[TyperCommand, list[str]]:
    """The command of that name with its arguments, below a group if it is one of several."""
    load_commands()
    found = typer.main.get_command(app)
    for word in (name, *arguments):
        if isinstance(found, TyperCommand):
            break
        assert isinstance(found, TyperGroup)
        found, arguments = found.commands[word], arguments[word != name :]
    assert isinstance(found, TyperCommand)
    return found, arguments


def examples() -> list[Path]:
    return sorted(path for path in EXAMPLES.iterdir() if path.suffix != ".md")


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.name)
def test_commands_have_these_options(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Commands that read stored runs want the folder to be there; no shell is asked what its variable stands for.
    for variable in ("HARNESS_LAB_SCHEDULER", "HARNESS_LAB_STORE"):  # the units' Environment= lines
        monkeypatch.setenv(variable, "tls://192.0.2.7:8786")
    for folder in ("results", "$RESULTS"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    found = list(calls(path.read_text()))
    assert found or path.suffix == ".timer" or path.name == "harness-lab-store.service"
    for name, *arguments in found:
        # Parsing refuses an option that is not there, and a value that it cannot have; nothing is run.
        one, rest = command(name, arguments)
        assert one.make_context(name, rest).params


def test_an_option_that_is_not_there_is_found() -> None:
    ((name, *arguments),) = calls("cd x && harness nightly --baseline main --no-such-thing 1")
    with pytest.raises(TyperException, match="no-such-thing"):
        command(name, arguments)[0].make_context(name, arguments)


def test_the_workflow_is_one() -> None:
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    # YAML 1.1 takes the key `on` for a truth.
    assert set(workflow[True]) == {"schedule", "pull_request", "workflow_dispatch"}
    (job,) = workflow["jobs"].values()
    assert "self-hosted" in job["runs-on"]
    for step in job["steps"]:
        assert ("run" in step) != ("uses" in step)
    assert any("GITHUB_STEP_SUMMARY" in step.get("run", "") for step in job["steps"])
    for step in job["steps"]:
        if "run" in step:
            script = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
            subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=30)


def test_the_crontab_has_times_and_commands() -> None:
    lines = [line for line in (EXAMPLES / "nightly.cron").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) == 4
    for line in lines:
        if not re.fullmatch(r"[A-Z]+=\S+", line):
            match = re.fullmatch(rf"{_FIELD}\s+{_FIELD}\s+{_FIELD}\s+{_FIELD}\s+{_FIELD}\s+(?P<command>\S.*)", line)
            assert match, line
            assert "%" not in match["command"], "cron makes a line break of it"
            subprocess.run(["bash", "-n"], input=match["command"], text=True, check=True, timeout=30)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """By systemd's own check, which needs no running systemd."""
    names = tuple(path.name for path in sorted(EXAMPLES.glob("harness-*")))
    for name in names:
        (tmp_path / name).write_text((EXAMPLES / name).read_text())
    assert verified(tmp_path, names) == (0, "")
    service = tmp_path / names[0]
    service.write_text(service.read_text().replace("ExecStart=", "ExecStrat="))
    status, output = verified(tmp_path, names)
    assert (status, "ExecStrat" in output) == (1, True)


def verified(folder: Path, names: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", *(str(folder / name) for name in names)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
