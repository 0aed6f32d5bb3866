"""Options of a kind of device that a package of somebody else's brings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.devices import DeviceKind, DeviceOption, SerialName, device_options
from tests import forked
from tests.plugin.project import Project

pytestmark = pytest.mark.programs

TOY = """
from contextlib import contextmanager

from harness.core.errors import UsageError
from harness.devices import Check, DeviceKind, DeviceOption, ListedDevice, SerialName

COLOUR = DeviceOption("--toy-colour", "what it is painted with", choices=("red", "blue"), default="blue")
FLAT = DeviceOption("--toy-flat", "without wheels", switch=True, commands=("nightly",))
ROOM = DeviceOption("--toy-room", "where to look", several=True, commands=("suites", "explain", "devices", "doctor"))


@contextmanager
def _open(selection, cache, notify):
    rooms = ", ".join(ROOM.of(selection.options))
    where = f" in {rooms}" if rooms else ""
    what = f"{COLOUR.of(selection.options)}, flat: {FLAT.of(selection.options)}"
    raise UsageError(f"toy {selection.serial}{where} is {what}")
    yield


def _listed(options):
    return [ListedDevice(f"toy:{room}", "ready") for room in ROOM.of(options)]


def _checked(options):
    return [Check(f"room {room}", True, "tidy", "") for room in ROOM.of(options)]


NUMBER = SerialName("the toy of that number", "--toy-number")
TOY = DeviceKind("toy", _open, _listed, _checked, serial=NUMBER, options=(COLOUR, FLAT, ROOM))
"""


@pytest.fixture
def toys(project: Project) -> Project:
    """A project whose environment has a package with a kind of its own."""
    (project.folder / "toys.py").write_text(TOY)
    facts = project.folder / "toys-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[harness.devices]\ntoy = toys:TOY\n")
    (project.folder / "results").mkdir()
    return project


def harness(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = project.environment()
    environment["PYTHONPATH"] = f"{project.folder}:{environment['PYTHONPATH']}"
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return forked.run(command, cwd=project.folder, env=environment)


def test_the_suites_take_it(toys: Project) -> None:
    text = toys.pytest("suites", "--help").stdout
    assert re.search(r"--toy-colour=X, --harness-toy-colour=X\s+what it is painted with", text)
    assert "--toy-number=S" in text
    assert "--toy-flat" not in text
    for colour in ("--toy-colour", "--harness-toy-colour"):
        done = toys.pytest("suites", "--device", "toy", "--toy-number", "7", colour, "red")
        assert "harness: toy 7 is red, flat: False" in done.stdout
    assert "toy None is blue" in toys.pytest("suites", "--device", "toy").stdout
    assert "invalid choice: 'green'" in toys.pytest("suites", "--device", "toy", "--toy-colour", "green").stderr


def test_it_has_its_long_name_where_another_plugin_has_the_short_one(toys: Project) -> None:
    toys.behave(more="def pytest_addoption(parser):\n    parser.addoption('--toy-colour', default='theirs')\n")
    done = toys.pytest("suites", "--device", "toy", "--harness-toy-colour", "red")
    assert "of the harness: --harness-toy-colour" in done.stdout
    assert "toy None is red" in done.stdout


@pytest.mark.thorough(keep=["command0"])
@pytest.mark.parametrize("command", [("nightly", "--baseline", "b"), ("explain", "--results-dir", "results")])
def test_commands_that_open_devices_take_it(toys: Project, command: tuple[str, ...]) -> None:
    assert "--toy-colour" in harness(toys, command[0], "--help").stdout
    flat = command[0] == "nightly"
    assert ("--toy-flat" in harness(toys, command[0], "--help").stdout) is flat
    wrong = harness(toys, *command, "--device", "toy", "--toy-colour", "green")
    assert wrong.returncode == 2
    if flat:
        done = harness(toys, *command, "--device", "toy", "--udid", "7", "--toy-colour", "red", "--toy-flat")
        assert done.stderr == "harness: toy 7 is red, flat: True\n"


def test_one_that_can_be_given_several_times_reaches_whoever_lists_or_opens(toys: Project) -> None:
    rooms = ("--toy-room", "attic", "--toy-room", "cellar")
    assert "toy None in attic, cellar is blue" in toys.pytest("suites", "--device", "toy", *rooms).stdout
    explained = harness(toys, "explain", "--results-dir", "results", "--device", "toy", *rooms)
    assert explained.returncode == 2
    listed = json.loads(harness(toys, "devices", *rooms, "--json").stdout)["devices"]
    assert [row["device"] for row in listed if row["kind"] == "toy"] == ["toy:attic", "toy:cellar"]
    checks = json.loads(harness(toys, "doctor", *rooms, "--json").stdout)["checks"]
    assert [row["name"] for row in checks if row["found"] == "tidy"] == ["room attic", "room cellar"]
    assert "--toy-room" not in harness(toys, "nightly", "--help").stdout
    assert "--toy-colour" not in harness(toys, "devices", "--help").stdout


def test_two_kinds_may_share_an_option_but_not_its_name() -> None:
    def kind(name: str, *options: DeviceOption, serial: SerialName | None = None) -> DeviceKind:
        return DeviceKind(name, lambda *_: pytest.fail("opened"), lambda _: [], options=options, serial=serial)

    loud = DeviceOption("--a-loud", "how loud")
    shared = device_options([kind("a", loud), kind("b", loud, serial=SerialName("the b", "--b-id"))], "suites")
    assert list(shared) == ["serial", "a_loud"]
    assert shared["serial"].names == ("--serial", "--b-id")
    with pytest.raises(UsageError, match="--a-loud, which another has"):
        device_options([kind("a", loud), kind("b", DeviceOption("--a-loud", "otherwise"))], "suites")
    with pytest.raises(UsageError, match="--words, which another has"):
        device_options([kind("a", DeviceOption("--words", "of mine"))], "suites", taken=["--words"])
    with pytest.raises(UsageError, match="no name of an option"):
        DeviceOption("colour", "of what")


def test_an_option_that_the_harness_has_is_refused_in_a_line(toys: Project) -> None:
    module = toys.folder / "toys.py"
    module.write_text(TOY.replace("--toy-colour", "--words"))
    done = toys.pytest("suites", "--device", "toy")
    assert done.returncode == 4
    assert "brings an option --words, which another has already" in done.stderr
    assert "Traceback" not in done.stderr
    nightly = harness(toys, "nightly", "--baseline", "b")
    assert nightly.returncode == 2
    assert "--words" in nightly.stderr


def test_a_path_beside_the_options_is_not_taken_for_a_value(toys: Project, tmp_path: Path) -> None:
    (toys.folder / "tests").mkdir()
    (toys.folder / "tests/conftest.py").write_text("raise SystemExit('loaded')\n")
    done = toys.pytest("suites", "--device", "toy", "--toy-number", "tests")
    assert "toy tests is blue" in done.stdout, "the value of the option is no folder of tests"
