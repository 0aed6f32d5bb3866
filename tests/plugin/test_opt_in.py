"""Whose command line it is: options for projects that ask, the shipped suites by name, and other plugins' options."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.plugin.project import Project

pytestmark = pytest.mark.programs

RUNS = "suites/test_smoke.py::test_every_function_loads_and_a_few_items_run"
SMOKE = "suites/test_smoke.py::test_the_runner_starts_and_holds_the_archive"
OTHERS = (
    "def pytest_addoption(parser):\n    parser.addoption('--device', default='cuda')\n    parser.addoption('--words')\n"
)


def collected(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def only(project: Project, *arguments: str) -> list[str]:
    return collected(project.pytest(*arguments, "--collect-only", "-q"))


def test_naming_the_suites_asks_for_the_options(project: Project) -> None:
    assert only(project, "suites", "--device", "host")[0] == SMOKE
    assert only(project, "suites/", "--device=host")[0] == SMOKE
    assert only(project, "--pyargs", "harness.suites", "--device", "host")[0] == SMOKE
    smoke = only(project, "suites/test_smoke.py", "--device", "host")
    assert smoke[0] == SMOKE
    assert len(smoke) == 2
    assert only(project, SMOKE, "--device", "host") == [SMOKE]
    one = "suites/test_parity.py::test_parity[cacheless]"
    assert only(project, one, "--device", "host") == [one]


def test_what_a_projects_tests_set_up_is_not_loaded_for_the_suites(project: Project) -> None:
    (project.folder / "tests").mkdir()
    (project.folder / "tests/conftest.py").write_text("raise SystemExit('loaded')\n")
    (project.folder / "tests/words.tsv").write_text("eng-us\tcat\n")
    assert only(project, "suites", "--device", "host")[0] == SMOKE
    assert only(project, "suites", "--device", "host", "--words", "tests/words.tsv")[0] == SMOKE
    assert "loaded" in project.pytest("tests").stderr


def test_a_file_of_the_suites_that_is_not_there(project: Project) -> None:
    done = project.pytest("suites/test_absent.py", "--device", "host")
    assert done.returncode == 4
    assert "file or directory not found: suites/test_absent.py" in done.stderr


def test_a_folder_of_that_name_is_the_projects_own(project: Project) -> None:
    (project.folder / "suites").mkdir()
    (project.folder / "suites/test_own.py").write_text("def test_own():\n    pass\n")
    assert only(project, "suites") == ["suites/test_own.py::test_own"]
    both = only(project, "suites/test_own.py", "--pyargs", "harness.suites", "--device", "host")
    assert "suites/test_own.py::test_own" in both
    assert SMOKE in both


def test_own_tests_beside_the_suites(project: Project) -> None:
    (project.folder / "tests").mkdir()
    (project.folder / "tests/test_own.py").write_text("def test_own():\n    pass\n")
    found = only(project, "tests/test_own.py::test_own", "suites/test_smoke.py", "--device", "host")
    assert found[0] == SMOKE, "a runner that does not start fails in the smallest test"
    assert found[-1] == "tests/test_own.py::test_own"
    done = project.pytest("suites", "tests/test_absent.py", "--device", "host")
    assert "file or directory not found: tests/test_absent.py" in done.stderr


def test_the_suites_do_not_share_the_machine(project: Project) -> None:
    done = project.pytest("suites", "--device", "host", "-n", "2")
    assert done.returncode == 4
    assert "run without -n" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_where_nothing_was_asked_for_the_error_has_a_hint(project: Project) -> None:
    for option in ("--device", "--harness-device", "--checkpoint=x"):
        done = project.pytest(option, "host")
        assert done.returncode == 4
        assert f"unrecognized arguments: {option}" in done.stderr
        assert "harness init" in done.stderr
        assert "pytest suites" in done.stderr
    done = project.pytest("--no-such-option")
    assert "harness init" not in done.stderr


def test_a_key_of_the_configuration_asks_for_the_options(project: Project) -> None:
    """With a device and no path the shipped suites run, on the project's models, from any folder of the project."""
    (project.folder / "test_own.py").write_text("def test_own():\n    pass\n")
    (project.folder / "device").mkdir()
    (project.folder / "device/test_phone.py").write_text("def test_phone(harness_run):\n    pass\n")
    (project.folder / "pytest.ini").write_text(
        "[pytest]\nharness_models =\n    models/a.py\n    detector\nharness_testpaths = device\n"
    )
    ran = [SMOKE, *(f"{RUNS}[{name}]" for name in ("models/a.py", "detector"))]
    found = only(project, "--device", "host")
    assert found[:3] == ran
    assert found[-1] == "device/test_phone.py::test_phone"
    assert len(found) == 12, "for both models: three tests, and both sides of the turns"
    assert only(project, "--device", "host", "--models", "bert")[1] == f"{RUNS}[bert]"
    assert only(project, "test_own.py", "--device", "host") == ["test_own.py::test_own"]
    without = project.pytest()
    assert "1 passed, 1 deselected" in without.stdout
    project.folder = project.folder / "device"
    below = only(project, "--device", "host")
    assert below[1] == f"{RUNS}[../models/a.py]"


@pytest.mark.parametrize(
    "configuration",
    [
        '[tool.pytest.ini_options]\nharness_models = ["g2p"]\n',
        '[tool.pytest]\nharness_models = ["g2p"]\nstrict_config = true\n',
        '[tool.pytest.ini_options]\naddopts = ["-p", "harness", "--strict-config"]\n',
    ],
)
def test_a_section_of_pyproject(project: Project, configuration: str) -> None:
    (project.folder / "pytest.ini").unlink()
    (project.folder / "pyproject.toml").write_text(configuration)
    assert only(project, "--device", "host")[0] == SMOKE


def test_p_harness_asks_for_the_options(project: Project) -> None:
    assert only(project, "-p", "harness", "--device", "host")[0] == SMOKE


def test_a_conftest_may_register_them_with_models(project: Project) -> None:
    (project.folder / "conftest.py").write_text(
        "from harness.pytest_plugin import add_options\n"
        "def pytest_addoption(parser):\n"
        "    add_options(parser, models=['detector'])\n"
    )
    assert only(project, "--device", "host")[1] == f"{RUNS}[detector]"
    assert only(project, "suites", "--device", "host", "--models", "bert")[1].endswith("[bert]")


def test_a_name_of_another_plugin_stays_with_it(project: Project) -> None:
    project.behave(more=OTHERS)
    (project.folder / "test_theirs.py").write_text(
        "def test_theirs(request):\n    assert request.config.getoption('--device') == 'tpu'\n"
    )
    done = project.pytest(
        "suites",
        "test_theirs.py",
        "--device",
        "tpu",
        "--harness-device",
        "host",
        "--harness-words",
        "words.tsv",
        "-k",
        "few_items or theirs",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "--device, --words belong to another plugin here; of the harness: --harness-device" in done.stdout
    nothing = project.pytest("suites", "--device", "tpu")
    assert nothing.returncode == 2
    assert "pytest suites --harness-device host" in nothing.stdout
    assert "Traceback" not in nothing.stdout + nothing.stderr


def test_every_option_has_a_long_name(project: Project) -> None:
    arguments = ["--harness-device=host", "--harness-repeat=1", "--harness-words=words.tsv", "--harness-no-kv-cache"]
    done = project.pytest("suites/test_latency.py", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = project.store.find("latest").manifest()
    assert (manifest.options["repeat"], manifest.options["use_kv_cache"]) == (1, False)


def test_the_projects_own_rules_for_names_do_not_hide_the_suites(project: Project) -> None:
    (project.folder / "pytest.ini").write_text(
        "[pytest]\npython_files = check_*.py\npython_functions = check_*\npython_classes = Check\ntestpaths = tests\n"
    )
    assert only(project, "suites", "--device", "host")[0] == SMOKE


def test_the_suites_run_where_nothing_may_be_written_beside_them(project: Project) -> None:
    """The options of pytest that persons use, and no folder of packages in front of the path."""
    project.behave(more="import sys\ndef pytest_unconfigure():\n    print('FIRST', sys.path[0])\n")
    done = project.pytest(
        "suites", "--device", "host", "--words", "words.tsv", "-k", "smoke", "-x", "--junitxml=j.xml", "-v"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SMOKE} PASSED" in done.stdout
    assert 'classname="suites.test_smoke"' in (project.folder / "j.xml").read_text()
    first = next(line for line in done.stdout.splitlines() if line.startswith("FIRST"))
    assert first == f"FIRST {project.folder}"


FIXTURES = """
import pytest

@pytest.mark.harness_step("parity")
def test_agrees(harness_model, harness_run, harness_facts):
    model = harness_model("g2p")
    assert [one.item for one in model.parity()] == ["eng-us cat", "eng-us dog", "fra chat"]
    assert all(one.agrees for one in model.parity())
    assert (harness_run.device.kind, harness_run.device.emulated) == ("host", False)
    assert harness_run.model_names == ["g2p"]
    assert (harness_run.folder / "manifest.json").is_file()
    assert harness_facts["run_id"] == harness_run.run_id

def test_fast(harness_model, replay_benchmark, harness_facts):
    times = harness_model("g2p").times()
    assert {item: len(some) for item, some in times.items()} == {"eng-us cat": 4, "eng-us dog": 4, "fra chat": 4}
    replay_benchmark(times["fra chat"], harness_facts)

def test_another(harness_model):
    harness_model("resnet")
"""


def test_a_projects_own_tests_use_the_fixtures(project: Project) -> None:
    (project.folder / "test_device.py").write_text(FIXTURES)
    arguments = ["-p", "harness", "test_device.py", "--device", "host", "--words", "words.tsv", "--repeat", "4"]
    done = project.pytest(*arguments)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 2
    assert "this run has no model 'resnet'" in done.stdout
    assert "it has g2p; --models adds others" in done.stdout
    project.behave(body="header(); load(); sample(order['items'][0], 'timed', 0); os.kill(os.getpid(), signal.SIGKILL)")
    crashed = project.pytest(*arguments, "-k", "agrees or fast")
    assert crashed.returncode == 3, crashed.stdout
    assert "not every item of g2p was compared" in crashed.stdout


def test_a_plugin_from_the_registry_with_a_device_of_its_own(tmp_path: Path) -> None:
    """pytest-playwright's --device is a phone's screen in a browser; here is its entrance, as it registers it."""
    (tmp_path / "their_plugin.py").write_text(
        "def pytest_addoption(parser):\n"
        "    group = parser.getgroup('playwright', 'Playwright')\n"
        "    group.addoption('--device', default=None, action='store', help='Device to be emulated.')\n"
    )
    found = tmp_path / "their_plugin-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugin\nVersion: 1.0\n")
    (found / "entry_points.txt").write_text("[pytest11]\ntheirs = their_plugin\n")
    project = Project(tmp_path / "project")
    environment = project.environment() | {"PYTHONPATH": f"{tmp_path}:{project.environment()['PYTHONPATH']}"}
    for option, status in (("--harness-device", 0), ("--device", 2)):
        done = forked.run(
            project.command("suites", option, "host", "--harness-words", "words.tsv", "-k", "few_items"),
            cwd=project.folder,
            env=environment,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
