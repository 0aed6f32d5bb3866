"""``harness nightly`` over a lab: it is judged there, and people at their desks pass it in the queue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.cache import Cache
from harness.lab.client import Lab
from harness.results.baselines import Baselines
from tests.cli.called import call
from tests.lab.conftest import Town
from tests.lab.pocket import put_phone
from tests.results.kept import cached_run, noisy

pytestmark = pytest.mark.programs


def test_a_nightly_run_over_a_lab_waits_for_people(
    town: Town,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[int] = []
    ask = Lab.ask

    def spied(self: Lab, phone: str, question: str, *words: Any, wait: float = 0.0) -> Any:
        if question == "poll":
            asked.append(words[3])
        return ask(self, phone, question, *words, wait=wait)

    monkeypatch.setattr(Lab, "ask", spied)
    monkeypatch.chdir(tmp_path)
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    Baselines(results).set(cached_run(results, cache, body=noisy(1e6)), "main", cache=cache)
    words = ("nightly", "--baseline", "main", "--candidate", "main", "--words", "1", "--json")
    lab = ("--device", "lab:host=south", "--count", "2", "--lab-scheduler", town.address)
    done = call(capsys, *words, *lab)
    assert done.code == 0, done.err
    night = json.loads(done.out)["night"]
    assert night["state"] == "pass"
    assert {unit["device"] for unit in night["units"]} == {"Pocket 2 (s1)", "Pocket 2 (s2)"}
    assert set(asked) == {-10}
    asked.clear()
    done = call(capsys, *words, *lab, "--lab-priority", "3", "--time-budget", "0.01")
    assert set(asked) == {3}, done.err


def test_emulated_phones_of_a_lab_are_judged_by_all_but_their_times(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_phone(town.pocket("south"), "s7", model="Pretender", emulated=True)
    town.await_state("south/s7", "free")
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    Baselines(results).set(cached_run(results, cache, body=noisy(1e6)), "main", cache=cache)
    words = ("nightly", "--baseline", "main", "--candidate", "main", "--words", "1", "--json")
    lab = ("--device", "lab:model=pretender", "--count", "all", "--lab-scheduler", town.address)
    refused = call(capsys, *words, *lab)
    assert refused.code == 2
    assert "harness nightly --emulated" in refused.err
    done = call(capsys, *words, *lab, "--emulated")
    assert done.code == 0, done.err
    (unit,) = json.loads(done.out)["night"]["units"]
    assert unit["device"] == "Pretender (s7)"
    assert {cell["verdict"] for cell in unit["cells"]} == {"inconclusive"}
    (town.pocket("south") / "s7.json").unlink()
    town.await_gone("south/s7")
