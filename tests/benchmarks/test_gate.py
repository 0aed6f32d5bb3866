"""The simulation is of the given world, deterministic, and its gate and naive rules do what their names promise."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import gate
from benchmarks.simulated_nightly import Effort, World, calibration, gated, naive
from harness.measure import DEFAULT_RULE, Floor, GateVerdict, judge_cells
from harness.measure.pairs import process_noise

CALM = World(session_effect=0.04, process_noise=0.015, iteration_noise=0.0, throttled=0.0)


def test_pairs_are_free_of_the_session_and_hold_the_change() -> None:
    rng = np.random.default_rng(1)
    sessions = np.array([CALM.pairs(rng, 10, 0.05) for _ in range(500)])
    assert sessions.mean() == pytest.approx(math.log(1.05), abs=0.002)
    assert sessions.std() == pytest.approx(0.015 * math.sqrt(2), rel=0.05)
    runs = np.array([CALM.runs(rng, 20) for _ in range(500)])
    assert runs.mean(axis=1).std() == pytest.approx(0.04, rel=0.1)


def test_throttling_slows_a_session_down_from_some_run_on() -> None:
    rng = np.random.default_rng(2)
    hot = World(session_effect=0.0, process_noise=0.001, iteration_noise=0.0, throttled=1.0)
    for _ in range(50):
        runs = hot.runs(rng, 20)
        slow = runs > 0.05
        assert slow[-1]
        assert not np.any(slow[:-1] & ~slow[1:]), "it does not cool down within a session"
        assert math.log(1.09) < runs[-1] < math.log(1.52)


def test_a_noisy_device_gets_more_pairs_and_a_second_attempt() -> None:
    rng = np.random.default_rng(3)
    floor = Floor(sessions=1, pairs=10, change=0.0, noise=0.0)
    noisy, effort = World(process_noise=0.15, throttled=0.0), Effort()
    found = judge_cells({0: gated(noisy, DEFAULT_RULE, floor, 0.0, rng, effort)})[0]
    assert found.verdict is GateVerdict.INCONCLUSIVE
    assert (effort.sessions, effort.pairs) == (2, 32)
    effort = Effort()
    assert judge_cells({0: gated(CALM, DEFAULT_RULE, floor, 0.0, rng, effort)})[0].verdict is GateVerdict.PASS
    assert (effort.sessions, effort.pairs) == (1, 10)


def test_the_naive_rules_see_a_change_that_towers_over_the_nightly_runs() -> None:
    rng = np.random.default_rng(4)
    still = World(session_effect=0.001, process_noise=0.001, throttled=0.0)
    assert naive(still, DEFAULT_RULE, 0.2, rng).t_test
    assert naive(still, DEFAULT_RULE, 0.2, rng).last_run
    assert not naive(still, DEFAULT_RULE, 0.04, rng).last_run
    assert naive(still, DEFAULT_RULE, 0.04, rng).mann_whitney


def test_the_calibration_finds_the_devices_noise() -> None:
    floor = calibration(CALM, DEFAULT_RULE, np.random.default_rng(5))
    assert floor.noise == pytest.approx(0.015, rel=0.2)
    assert 0.01 < floor.change < 0.03
    assert process_noise(CALM.pairs(np.random.default_rng(6), 10_000, 0.0)) == pytest.approx(0.015, rel=0.05)


def test_the_command_prints_the_same_twice_and_writes_what_it_prints(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(gate.main)
    files = [tmp_path / "1.json", tmp_path / "2.json"]
    for file in files:
        done = CliRunner().invoke(app, ["--nightly-runs", "8", "--cells", "2", "--seed", "3", "--json", str(file)])
        assert done.exit_code == 0, done.output
        assert "too few to judge" in done.output
    first, second = (json.loads(file.read_text()) for file in files)
    assert first == second
    none, five, ten = first["tallies"]
    assert (none["change"], five["change"], ten["change"]) == (0.0, 0.05, 0.1)
    assert none["flagged"] == 0.0
    assert ten["changed"] == {"fail": 8}


def test_what_is_missed_is_an_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "JUDGED_FROM", 2)
    app = typer.Typer()
    app.command()(gate.main)
    done = CliRunner().invoke(app, ["--nightly-runs", "3", "--process-noise", "0.2"])
    assert done.exit_code == 1
    assert "missed: +5%, +10%" in done.output
