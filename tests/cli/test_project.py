"""``harness init``: what it writes, what it leaves alone, and that it writes all or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.cli import main, project
from harness.cli.project import ProjectUnwritable, configuration, plan_project, write_files
from harness.core.installation import DISTRIBUTION
from tests import forked
from tests.environment import python_path
from tests.outside import persons_environment

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
ALL = {"ondevice/model.py", ".github/workflows/ondevice.yml", "pytest.ini"}
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


def init(folder: Path, *arguments: str, unprivileged: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "init", *arguments]
    environment = persons_environment() | {"PYTHONPATH": python_path(ROOT)}
    if not unprivileged or os.geteuid() != 0:
        return forked.run(command, cwd=folder, env=environment)
    return subprocess.run(
        [*UNPRIVILEGED, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {name for name in found if "__pycache__" not in name and ".git/" not in name}


def pytest_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *arguments],
        cwd=folder,
        env=persons_environment() | {"PYTHONPATH": python_path(ROOT)},
    )


def runs_the_model(folder: Path, option: str = "--device") -> bool:
    done = pytest_here(folder, option, "host")
    assert "Traceback" not in done.stdout + done.stderr
    return "suites/test_parity.py::test_parity[ondevice/model.py]" in done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my project"
    made.mkdir()
    return made


def test_an_empty_folder(folder: Path) -> None:
    dry = init(folder, "--dry-run")
    assert dry.returncode == 0
    assert list(folder.iterdir()) == []
    done = init(folder)
    assert done.returncode == 0, done.stderr
    assert files(folder) == ALL
    assert {f"would {line.replace('wrote', 'write')}" for line in done.stdout.splitlines() if "wrote" in line} == {
        line for line in dry.stdout.splitlines() if "would" in line
    }
    assert "in no git repository" in done.stdout
    assert done.stdout.endswith("pytest --device host\n")
    assert runs_the_model(folder)
    written = {name: (folder / name).read_bytes() for name in ALL}
    again = init(folder)
    assert again.returncode == 0
    assert "wrote" not in again.stdout
    assert {name: (folder / name).read_bytes() for name in files(folder)} == written


def test_a_repository(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", folder], check=True)
    assert "wrote .gitignore" in init(folder).stdout
    (folder / "results").mkdir()
    (folder / "results/run").touch()
    status = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert "results" not in status.stdout
    (folder / ".gitignore").write_text("*.pyc\n")
    assert "Add to .gitignore" in init(folder).stdout
    assert (folder / ".gitignore").read_text() == "*.pyc\n"


@pytest.mark.thorough(keep=["pyproject.toml-*"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n'),
        ("tox.ini", "[pytest]\n"),
        ("setup.cfg", "[tool:pytest]\n"),
        ("pytest.ini", "[pytest]\n"),
    ],
)
def test_pytests_own_configuration_is_left_alone(folder: Path, name: str, text: str) -> None:
    """A conftest.py turns the options on; where there is one as well, a line is printed that does."""
    (folder / name).write_text(text)
    done = init(folder)
    assert "wrote conftest.py" in done.stdout
    assert (folder / name).read_text() == text
    assert runs_the_model(folder)
    shutil.rmtree(folder / "ondevice")
    (folder / "conftest.py").write_text("X = 1\n")
    done = init(folder)
    assert "wrote ondevice/model.py" in done.stdout
    assert (folder / "conftest.py").read_text() == "X = 1\n"
    assert not runs_the_model(folder)
    (line,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("harness_models")]
    first, _, rest = text.partition("\n")
    (folder / name).write_text(f"{first}\n{line}\n{rest}")
    assert runs_the_model(folder)
    assert "harness_models" not in init(folder).stdout, "the options are on"


def test_a_folder_below_a_configured_one(folder: Path) -> None:
    """A pytest.ini of its own would take the configuration above away from the tests in the folder."""
    (folder.parent / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    assert configuration(folder) == folder.parent / "pyproject.toml"
    init(folder)
    assert "conftest.py" in files(folder)
    assert "pytest.ini" not in files(folder)
    assert runs_the_model(folder)


def test_an_own_conftest_with_a_device_option(folder: Path) -> None:
    text = "def pytest_addoption(parser):\n    parser.addoption('--device')\n"
    (folder / "conftest.py").write_text(text)
    done = init(folder)
    assert done.returncode == 0
    assert "--harness-device" in done.stdout
    assert (folder / "conftest.py").read_text() == text
    assert "--harness-device android" in (folder / ".github/workflows/ondevice.yml").read_text()
    assert runs_the_model(folder, "--harness-device")


def test_a_folder_that_nobody_may_write_to(folder: Path) -> None:
    folder.chmod(0o555)
    try:
        done = init(folder, unprivileged=True)
    finally:
        folder.chmod(0o755)
    assert done.returncode == 3
    assert "Permission denied" in done.stderr
    assert "harness init --dry-run" in done.stderr
    assert "Traceback" not in done.stderr
    assert files(folder) == set()


def test_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", str(folder / "absent")])
    assert ended.value.code == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    plan = plan_project(folder)
    real, done = Path.write_text, list[Path]()

    def fills_up(path: Path, text: str, encoding: str | None = None) -> int:
        if len(done) == written:
            real(path, text[:5], encoding=encoding)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        done.append(path)
        return real(path, text, encoding=encoding)

    monkeypatch.setattr(Path, "write_text", fills_up)
    with pytest.raises(ProjectUnwritable, match="the disk is full") as info:
        write_files(folder, plan.files)
    assert "free some space" in info.value.cure
    assert list(folder.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_written_over(folder: Path) -> None:
    plan = plan_project(folder)
    (folder / "pytest.ini").write_text("mine")
    with pytest.raises(ProjectUnwritable, match="File exists"):
        write_files(plan.folder, plan.files)
    assert files(folder) == {"pytest.ini"}
    assert (folder / "pytest.ini").read_text() == "mine"


def test_the_workflow_is_one(folder: Path) -> None:
    text = plan_project(folder).files[project.WORKFLOW]
    workflow = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    assert "self-hosted" in job["runs-on"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert any(f"'{DISTRIBUTION}[compile]'" in command for command in commands)
    assert any("pytest --device android" in command for command in commands)
    assert "@" not in "".join(commands)
