"""An installed harness does what the checkout does, for a user who may write to nothing but a folder of their own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.results import Run, Store
from tests.packaging.installs import ROOT, Environment, from_cache

# Thorough: what a release has to do that a checkout does not.
pytestmark = [pytest.mark.compiler, pytest.mark.thorough]
MODEL = "ondevice/model.py"


def listing(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose folder's name has a space, after ``harness init``; its model is no other test's."""
    folder = tmp_path_factory.mktemp("projects") / "my project"
    folder.mkdir()
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    done = installed.run("harness", "init", folder=folder)
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrote")} == {
        MODEL,
        "pytest.ini",
        ".gitignore",
        ".github/workflows/ondevice.yml",
    }
    model = folder / MODEL
    # A name of its own, so that its runner is built here and now, by cargo from the wheel's sources.
    model.write_text(model.read_text().replace("manual_seed(0)", f"manual_seed({folder.stat().st_ino})"))
    return folder


@pytest.fixture(scope="module")
def run(installed: Environment, project: Path) -> Run:
    """The run that `pytest --device host` makes, which writes nothing among the packages."""
    before = listing(installed.packages)
    done = installed.run("pytest", "--device", "host", "--junitxml", "j.xml", folder=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
    assert "Permission" not in done.stdout + done.stderr
    assert listing(installed.packages) == before
    return Store(project / "results").find("latest")


def test_it_is_not_the_checkout(installed: Environment, project: Path) -> None:
    script = (
        "import harness; from harness.native.runner import workspace_root as w; print(harness.__file__); print(w())"
    )
    done = installed.run("python", "-c", script, folder=project)
    module, workspace = done.stdout.splitlines()
    assert module == str(installed.packages / "harness/__init__.py")
    assert workspace == str(installed.packages / "harness/_rust")


def test_the_suites_run_on_the_projects_model(run: Run, project: Path) -> None:
    manifest, summary = run.manifest(), run.summary()
    assert list(manifest.workloads) == ["example"]
    assert summary is not None
    assert (summary.verdict.value, summary.reasons) == ("pass", [])
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True)
    assert manifest.git is not None
    assert manifest.git.commit == head.stdout.strip(), "the commit is the project's"
    assert 'classname="suites.test_parity"' in (project / "j.xml").read_text()


def test_compile_report_and_help(installed: Environment, project: Path, run: Run) -> None:
    for command in (
        ["--help"],
        ["compile", "--models", MODEL, "--output-dir", "build"],
        ["report", "latest", "--output", "p.html"],
    ):
        done = installed.run("harness", *command, folder=project)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "build/libmodels_system_lib.a").is_file() or list((project / "build").glob("*.a"))
    assert run.manifest().run_id in (project / "p.html").read_text()


def programs(folder: Path, *names: str) -> Path:
    """A folder with these programs of the machine only."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def fake(folder: Path, version: str) -> Path:
    folder.mkdir()
    for name in ("rustc", "cargo"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} {version}\n")
        (folder / name).chmod(0o755)
    return folder


SYSTEM = ("git", "sh", "env")


@pytest.mark.parametrize(
    ("lacks", "row", "message", "cure"),
    [
        ("cargo", "cargo", "cargo was not found", "install Rust 1.88 or newer with rustup"),
        ("compiler", "C++ compiler", "no C++ compiler was found", "apt install g++"),
        ("new rust", "rustc", "rustc 1.70.0 in", "rustup update stable"),
    ],
)
def test_what_is_missing_is_reported_with_its_cure(
    installed: Environment, project: Path, run: Run, tmp_path: Path, lacks: str, row: str, message: str, cure: str
) -> None:
    """By the run itself and by ``harness doctor``."""
    if lacks == "cargo":
        path = [programs(tmp_path / "bin", *SYSTEM, "c++")]
    elif lacks == "compiler":
        path = [programs(tmp_path / "bin", *SYSTEM, "cargo", "rustc")]
    else:
        path = [fake(tmp_path / "rust", "1.70.0"), programs(tmp_path / "bin", *SYSTEM, "c++")]
    done = installed.run("pytest", "--device", "host", folder=project, path=path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert message in done.stdout
    assert cure in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    doctor = installed.run("harness", "doctor", folder=project, path=path)
    assert doctor.returncode == 3
    line = next(line for line in doctor.stdout.splitlines() if row in line.split("  ")[1:2] or f" {row} " in line)
    assert "missing" in line
    assert cure.split(";")[0] in doctor.stdout


def test_doctor_names_the_package(installed: Environment, project: Path) -> None:
    done = installed.run("harness", "doctor", folder=project)
    # A long path is folded in its column.
    assert f"ondevice-harness0.1.0in{installed.packages}/harness".replace(" ", "") in "".join(done.stdout.split())


def test_two_versions_are_a_conflict_that_doctor_names(
    installed: Environment, distributions: tuple[Path, Path], project: Path, tmp_path: Path
) -> None:
    shutil.unpack_archive(distributions[1], tmp_path)
    sources = next(tmp_path.glob("ondevice_harness-*"))
    text = (sources / "pyproject.toml").read_text()
    (sources / "pyproject.toml").write_text(text.replace('version = "0.1.0"', 'version = "0.0.9"'))
    other = tmp_path / "other"
    from_cache("pip", "install", "--quiet", "--no-deps", "--target", str(other), str(sources), folder=tmp_path)
    installed.variables["PYTHONPATH"] = str(other)
    try:
        done = installed.run("harness", "doctor", folder=project)
    finally:
        del installed.variables["PYTHONPATH"]
    assert done.returncode == 3
    output = " ".join(done.stdout.split())
    assert "2 packages bring `harness`" in output
    assert "ondevice-harness 0.0.9 in" in output
    assert "pip uninstall ondevice-harness" in output


@pytest.mark.thorough
def test_without_the_compiler_the_cure_is_its_extra(without_compiler: Environment, tmp_path: Path) -> None:
    """Beside a plugin of the registry whose ``--device`` is a screen's; neither is in the other's way."""
    assert without_compiler.run("harness", "init", folder=tmp_path).returncode == 0
    theirs = without_compiler.run("pytest", "--device", "iPhone 15", "--collect-only", folder=tmp_path)
    assert "unrecognized" not in theirs.stderr
    assert "Traceback" not in theirs.stdout + theirs.stderr
    ours = without_compiler.run("pytest", "--harness-device", "host", folder=tmp_path)
    assert ours.returncode == 3, ours.stdout + ours.stderr
    assert "--device belong to another plugin here" in ours.stdout
    assert "the Python package torch is not installed" in ours.stdout
    assert "pip install 'ondevice-harness[compile]'" in ours.stdout
    assert "Traceback" not in ours.stdout + ours.stderr
    workflow = (tmp_path / ".github/workflows/ondevice.yml").read_text()
    assert "pytest --harness-device android" in workflow


OTHER_KIND = """
import pytest
from harness.conformance.faults import raises
from harness.conformance.host import HostBench
from harness.conformance.running import Endings, Reading
from harness.devices import HostDevice

class OtherDevice(HostDevice):
    kind = name = "other"

class OtherBench(HostBench):
    device_class = OtherDevice

class TestOther(Endings, Reading):
    @pytest.fixture
    def bench(self, tmp_path):
        bench = OtherBench(tmp_path)
        yield bench
        bench.close()
"""


def test_a_package_with_a_kind_of_device_runs_what_every_device_has_to_do(
    without_compiler: Environment, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.conformance"]\n')
    (tmp_path / "test_other.py").write_text(OTHER_KIND)
    done = without_compiler.run("pytest", "-q", "--strict-markers", "-W", "error", "test_other.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^2\d passed", done.stdout, re.MULTILINE)
    # An expectation that is not met is shown with its values, as in a test of the package's own.
    (tmp_path / "test_other.py").write_text(
        OTHER_KIND.replace(
            "    @pytest", "    ends = {'test_a_bad_result[nothing]': raises(OSError, 'x')}\n\n    @pytest"
        )
    )
    done = without_compiler.run("pytest", "-q", "test_other.py", "-k", "nothing", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "assert <class 'OSError'> is None" in done.stdout, done.stdout


def test_the_readme_has_the_same_name() -> None:
    assert "ondevice-harness" in (ROOT / "README.md").read_text()
