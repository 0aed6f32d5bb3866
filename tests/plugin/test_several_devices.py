"""Several devices in one session: at once, named, each on its own; and devices that are emulators."""

from __future__ import annotations

import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from harness.results import RunStatus
from tests.plugin.fake_devices import INSTALL
from tests.plugin.project import Project

pytestmark = pytest.mark.programs

MEET = """
import pathlib
meeting = pathlib.Path('..') / order['order_id'].rpartition('-')[0]
meeting.mkdir(exist_ok=True)
(meeting / str(os.getpid())).touch()
until = time.monotonic() + 40
while len(list(meeting.iterdir())) < 2 and time.monotonic() < until:
    time.sleep(0.01)
if len(list(meeting.iterdir())) >= 2:
    if meeting.name == 'parity-cache':
        time.sleep(2.2)
    everything()
"""
"""A runner that does nothing unless another runs the same order at the same time; one order takes long enough to be
followed in the terminal."""


def test_two_devices_run_at_once_and_are_told_apart(project: Project) -> None:
    project.behave(body=MEET, more=INSTALL)
    done = project.suites("--junit-xml=junit.xml", device="shelf:red,blue")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout
    for name in ("red", "blue"):
        assert f"harness: {name}: running parity (cache): " in done.stdout
    manifests = {str(run.manifest().device["name"]): run.manifest() for run in project.store.runs()}
    assert set(manifests) == {"red", "blue"}
    assert {manifest.status for manifest in manifests.values()} == {RunStatus.COMPLETE}
    closing = done.stdout[done.stdout.index("= harness =") :].splitlines()
    assert [closing[closing.index(f"{name}:") + 1].split()[0] for name in manifests] == ["PASS", "PASS"]
    root = ElementTree.parse(project.folder / "junit.xml").getroot()
    names = {case.get("name") for case in root.iter("testcase")}
    assert {"test_parity[cache-red]", "test_parity[cache-blue]"} <= names
    properties = {found.get("name"): found.get("value") for found in root.findall("testsuite/properties/property")}
    for name, manifest in manifests.items():
        assert properties[f"harness.{name}.run_id"] == manifest.run_id


def test_a_device_that_is_gone_does_not_stop_the_others(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.suites(device="shelf:lost-one,red")
    assert done.returncode == 3, done.stdout
    assert "device lost-one is gone" in done.stdout
    assert "a run could not be started" in done.stdout
    (run,) = project.store.runs()
    manifest = run.manifest()
    assert (manifest.device["name"], manifest.status) == ("red", RunStatus.COMPLETE)
    assert len(manifest.orders) == 4


def test_a_device_that_cannot_be_opened_does_not_stop_the_others(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.suites(device="shelf:absent-one,red")
    assert done.returncode == 3, done.stdout
    assert done.stdout.count("→ attach one") == 2, "once by the tests, once at the end"
    assert "a run could not be started: no device absent-one is on the shelf" in done.stdout
    (run,) = project.store.runs()
    assert (run.manifest().device["name"], run.manifest().status) == ("red", RunStatus.COMPLETE)


def test_no_device_at_all_is_told_once_and_is_no_verdict(project: Project) -> None:
    project.behave(more=INSTALL)
    for spec in ("shelf:absent-one", "shelf:absent-one,absent-two"):
        done = project.suites(device=spec)
        assert done.returncode == 3, done.stdout
        assert done.stdout.count("→ attach one") == 1
        assert "no device absent-one is on the shelf" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
    assert not project.store.runs()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_devices_are_opened(project: Project, number: signal.Signals) -> None:
    project.behave(more=INSTALL)
    code, out = project.interrupted(
        *["suites", "--device", "shelf:slow-one", "--words", "words.tsv"],
        when=(project.folder / "opening").exists,
        number=number,
    )
    assert code == 130, out


def test_a_serial_is_for_phones(project: Project) -> None:
    done = project.suites("--serial", "ABC")
    assert done.returncode == 2
    assert "--serial is for phones, not for host" in done.stdout


def test_wrong_usage_is_told_before_any_device_works(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.suites("--lang", "deu", device="shelf:red,blue")
    assert done.returncode == 2
    assert "holds no words of 'deu'" in done.stdout
    assert not project.store.runs()


def test_ctrl_c_ends_the_runners_of_all_devices(project: Project) -> None:
    project.behave(body="header(); load(); open(f'../pid-{os.getpid()}', 'w'); time.sleep(600)", more=INSTALL)
    code, out = project.interrupted(
        *["suites", "--device", "shelf:red,blue", "--words", "words.tsv", "-k", "latency"],
        when=lambda: len(list(project.folder.glob("pid-*"))) == 2,
    )
    assert code == 130, out
    assert {run.manifest().reason for run in project.store.runs()} == {"interrupted"}
    assert len(project.store.runs()) == 2
    for path in project.folder.glob("pid-*"):
        status = Path(f"/proc/{path.name.removeprefix('pid-')}/stat")
        assert not status.exists() or " Z " in status.read_text()
    assert not list(project.folder.glob("harness-????????-*"))


def test_the_times_of_an_emulator_are_labelled_and_compared_with_nothing(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.suites("--junit-xml=junit.xml", "--benchmark-json=b.json", device="shelf:emulated-one")
    assert done.returncode == 0, done.stdout
    assert "per word (median, emulated)" in done.stdout
    assert "of PyTorch's time" not in done.stdout
    assert not (project.folder / "b.json").exists()
    assert "latency per word" not in done.stdout
    names = {found.get("name") for found in ElementTree.parse(project.folder / "junit.xml").getroot().iter("property")}
    assert "latency.emulated.median_ns" in names
    assert not names & {"latency.median_ns", "latency.ratio_to_pytorch"}


def test_a_device_that_no_one_knows(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.suites(device="shelf:")
    assert done.returncode == 2
    assert "nothing follows the colon" in done.stdout
    done = project.suites(device="cupboard")
    assert done.returncode == 2
    assert "known kinds of device: android, host, ios, lab, shelf, virtual-android, virtual-ios" in done.stdout
