"""``pytest suites --device lab:…``: the same suites, reports and exit codes as on a phone of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.results import RunStatus
from tests.lab.conftest import Town
from tests.plugin.project import Project

pytestmark = pytest.mark.programs


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_suites_run_on_two_phones_of_the_lab(town: Town, project: Project) -> None:
    done = project.suites("--count", "2", "--lab-scheduler", town.address, device="lab:host=south and os>=15")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout
    runs = {str(run.manifest().device["name"]): run for run in project.store.runs()}
    assert set(runs) == {"Pocket 2 (s1)", "Pocket 2 (s2)"}
    for name, run in runs.items():
        manifest = run.manifest()
        assert manifest.status is RunStatus.COMPLETE
        assert manifest.device["lab"]["phone"] == f"south/{name[-3:-1]}"
        assert {order.observed["lab"][0]["phone"] for order in manifest.orders} == {f"south/{name[-3:-1]}"}
        assert manifest.orders[0].conditions_before == {"battery_percent": 80}


def test_wrong_words_and_phones_that_are_not_there_end_as_elsewhere(town: Town, project: Project) -> None:
    def ended(device: str, *more: str) -> tuple[int, str]:
        done = project.suites(*more, "--lab-scheduler", town.address, device=device)
        return done.returncode, done.stdout

    code, text = ended("lab:os>=")
    assert code == 2
    assert "a value is missing after os>=" in text
    code, text = ended("lab:south", "--count", "many")
    assert code == 2
    assert "--count 'many' is no number" in text
    code, text = ended("lab:soc=unheard")
    assert code == 3
    assert "matches 0 of the lab's 4 phones" in text


def test_a_mismatch_on_a_phone_of_the_lab_is_a_mismatch(town: Town, project: Project) -> None:
    project.behave(wrong="cat")
    done = project.suites("--lab-scheduler", town.address, device="lab:s1")
    assert done.returncode == 1, done.stdout
    assert "FAIL" in done.stdout
