"""Stored nightly runs: verdicts in today's and yesterday's form, levels that hang together, and drift."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ExitCode
from harness.measure import LATENCY, STEP
from harness.regression.nightly import NightlyResult, NightlyRun
from harness.regression.verdicts import FRESH_RUNS, exit_code, judge_nightly
from harness.results import Git, RunDamaged, Store
from harness.results.drift import CellHistory, history_of
from harness.results.history import query
from harness.results.journal import Plan, UnitPlan, write_plan
from harness.results.nightly import (
    CellFacts,
    NightlyNotFound,
    SessionFacts,
    UnitFacts,
    Verdicts,
    find_nightly,
    nightly_folders,
    nightly_runs,
    read_nightly,
    write_verdicts,
)
from tests.nightly import FakeDevice, make_plan


def quiet(_line: str) -> None:
    pass


def measured(results: Path, plan: Plan, device: FakeDevice | None = None) -> tuple[Path, NightlyResult]:
    folder = results / "nightly" / plan.night_id
    write_plan(folder, plan)
    return folder, NightlyRun(folder, plan, {"phone": device or FakeDevice()}, notify=quiet).run()


def test_a_nightly_run_is_kept_and_found(tmp_path: Path) -> None:
    folder, result = measured(tmp_path, make_plan(tmp_path, slower=0.08))
    assert read_nightly(folder).verdicts is None
    assert read_nightly(folder).state == "not ended"
    assert exit_code(read_nightly(folder)) is ExitCode.INFRASTRUCTURE
    record = judge_nightly(tmp_path, folder, result)
    assert record == read_nightly(folder)
    assert (record.state, exit_code(record)) == ("fail", ExitCode.FAILURE)
    assert record.verdicts is not None
    (unit,) = record.verdicts.units
    assert (unit.unit, unit.device, unit.model, unit.variant) == ("phone/cache", "phone", "m", "cache")
    assert [cell.metric for cell in unit.cells] == ["latency", "encoder", "prefill", "step"]
    whole = unit.cells[0]
    assert whole.first.outcome == "suspect"
    assert whole.first.change == pytest.approx(0.08, abs=0.02)
    assert whole.second is not None
    assert whole.share is None
    assert unit.cells[3].share == pytest.approx(0.7, rel=0.02)
    assert find_nightly(tmp_path, "latest") == find_nightly(tmp_path, folder.name[:8]) == folder
    with pytest.raises(NightlyNotFound, match="none"):
        find_nightly(tmp_path, "none")


def test_verdicts_of_an_older_harness_are_read(tmp_path: Path) -> None:
    folder, _ = measured(tmp_path, make_plan(tmp_path))
    shift = {"pairs": 10, "estimate": math.log(1.05), "interval": {"low": 0.04, "high": 0.06}, "p": 0.001}
    first = {"outcome": "suspect", "shift": {**shift, "noise": 0.01}, "threshold": 0.03, "detectable": 0.045}
    sessions: dict[str, Any] = {"first": first, "second": {"cause": "the battery has 45 °C"}}
    latency = {"verdict": "inconclusive", "cause": "hot", "sessions": sessions, "adjusted_p": 1.0}
    unit = {"unit": "phone/cache", "verdict": "inconclusive", "latency": latency, "limits": []}
    old = {"night_id": folder.name, "baseline": "main", "verdict": "inconclusive", "units": [unit]}
    (folder / "verdicts.json").write_text(json.dumps(old))
    verdicts = read_nightly(folder).verdicts
    assert verdicts is not None
    (cell,) = verdicts.units[0].cells
    assert (verdicts.units[0].device, verdicts.units[0].variant) == ("phone", "cache")
    assert cell.metric == LATENCY
    assert cell.first.change == pytest.approx(0.05)
    assert cell.second == SessionFacts(outcome="undecided", cause="the battery has 45 °C")


def test_a_damaged_nightly_run_is_reported_and_hides_no_other(tmp_path: Path) -> None:
    for damage in ("verdicts.json", "plan.json"):
        folder, result = measured(tmp_path, make_plan(tmp_path))
        judge_nightly(tmp_path, folder, result)
        (folder / damage).write_text('{"units": 3')
        with pytest.raises(RunDamaged, match=damage):
            read_nightly(folder)
    folder, result = measured(tmp_path, make_plan(tmp_path))
    judge_nightly(tmp_path, folder, result)
    assert [record.folder for record in nightly_runs(tmp_path)] == [folder]
    assert len(nightly_folders(tmp_path)) == 3


class Years:
    """Nightly runs of one cell, written as they are kept, without measuring anything."""

    def __init__(self, folder: Path) -> None:
        self.results = folder
        self.unit = make_plan(folder).units[0]
        self.count = 0

    def nightly(self, change: float, *, a: str = "0", b: str | None = None, **more: Any) -> str:
        """B is slower by ``change`` than A; ``a`` and ``b`` stand for the runners' hashes. Its id."""
        self.count += 1
        night_id = f"20260101-{self.count:06d}-000-0000"
        commit = Git(commit=f"{self.count:040x}", dirty=False)
        unit: UnitPlan = self.unit.model_copy(
            update={
                "a": self.unit.a.model_copy(update={"sha256": a}),
                "b": self.unit.b.model_copy(update={"sha256": b or f"b{self.count}", "git": commit}),
            }
        )
        facts = {"night_id": night_id, "started": "2026-01-01T00:00:00Z", "baseline": f"base-{a}", "units": [unit]}
        write_plan(self.results / "nightly" / night_id, Plan.model_validate({**facts, **more}))
        session = SessionFacts(
            outcome="clear", pairs=10, change=change, change_low=change - 0.01, change_high=change + 0.01
        )
        cells = [CellFacts(metric=LATENCY, verdict="pass", first=session)]
        facts_of = UnitFacts(
            unit=unit.name, device="phone", model="m", variant="cache", verdict="pass", cells=cells, limits=[]
        )
        verdicts = Verdicts(night_id=night_id, baseline=f"base-{a}", verdict="pass", units=[facts_of])
        write_verdicts(self.results / "nightly" / night_id, verdicts)
        return night_id

    def history(self) -> list[CellHistory]:
        return history_of(nightly_runs(self.results))


def test_levels_go_on_when_the_baseline_is_replaced(tmp_path: Path) -> None:
    years = Years(tmp_path)
    years.nightly(0.02, a="old", b="one")
    years.nightly(0.10, a="old", b="two")
    years.nightly(0.10, a="old", b="two")
    years.nightly(-0.05, a="two", b="three")
    years.nightly(0.50, a="stranger", b="four")
    chained, alone = years.history()
    assert chained.chain == "base-old"
    assert [point.level for point in chained.points] == pytest.approx([1.02, 1.1, 1.1, 1.1 * 0.95])
    assert [point.change for point in chained.points] == pytest.approx([0.02, 0.1, 0.1, -0.05])
    assert chained.points[3].baseline == "base-two"
    assert alone.chain == "base-stranger"
    assert [point.level for point in alone.points] == pytest.approx([1.5])
    assert chained.cell == ("phone", "m", "cache", LATENCY)


def test_what_is_no_nightly_run_of_the_sources_is_no_point(tmp_path: Path) -> None:
    years = Years(tmp_path)
    years.nightly(0.0, a="old", b="one")
    years.nightly(0.2, a="one", b="two", candidate="base-two")
    years.nightly(0.1, calibrate=3)
    slowed = years.unit.b.order.model_copy(update={"slowdown_percent": 5.0})
    years.unit = years.unit.model_copy(update={"b": years.unit.b.model_copy(update={"order": slowed})})
    years.nightly(0.05, a="old")
    years.unit = make_plan(tmp_path).units[0]
    years.nightly(0.0, a="two")
    (history,) = years.history()
    # The nightly run between two baselines shows at which level the second one is.
    assert [point.level for point in history.points] == pytest.approx([1.0, 1.2])


def test_slow_decay_is_found_with_its_first_nightly_run_also_across_baselines(tmp_path: Path) -> None:
    years, rng = Years(tmp_path), random.Random(1)
    ids = [years.nightly(rng.gauss(0.0, 0.004), a="old", b=f"o{at}") for at in range(14)]
    ids += [years.nightly(0.03 + rng.gauss(0.0, 0.004), a="old", b=f"n{at}") for at in range(4)]
    # A new baseline at the slower level: each nightly run equals it, and none would fail.
    ids += [years.nightly(rng.gauss(0.0, 0.004) + 0.005, a="n2", b=f"m{at}") for at in range(6)]
    (history,) = years.history()
    (drift,) = history.drifts
    assert (drift.night_id, drift.night_before) == (ids[14], ids[13])
    assert drift.magnitude == pytest.approx(0.033, abs=0.006)
    assert (drift.commit, drift.commit_before) == (f"{15:040x}", f"{14:040x}")


def test_a_nightly_run_warns_of_a_fresh_drift_and_of_no_old_one(tmp_path: Path) -> None:
    years, rng = Years(tmp_path), random.Random(2)
    plan = make_plan(tmp_path, slower=0.025)
    a = plan.units[0].a.sha256
    for at in range(16):
        years.nightly(rng.gauss(-0.02, 0.003), a=a, b=f"o{at}")
    ids = [years.nightly(rng.gauss(0.025, 0.003), a=a, b=f"n{at}") for at in range(5)]
    commit = Git(commit="0" * 40, dirty=False)
    unit = plan.units[0].model_copy(update={"b": plan.units[0].b.model_copy(update={"git": commit})})
    folder, result = measured(tmp_path, plan.model_copy(update={"units": [unit]}), FakeDevice(noise=0.003))
    assert result.verdict.value == "pass"
    record = judge_nightly(tmp_path, folder, result)
    assert (record.state, exit_code(record)) == ("warn", ExitCode.OK)
    assert record.verdicts is not None
    (drift,) = record.verdicts.drifts
    assert (drift.metric, drift.night_id) == (LATENCY, ids[0])
    assert drift.magnitude == pytest.approx(0.045, abs=0.01)
    assert drift.commits is None, "this repository has no such commits"
    assert STEP in {cell.metric for cell in record.verdicts.units[0].cells}
    for at in range(FRESH_RUNS):
        years.nightly(rng.gauss(0.025, 0.003), a=a, b=f"l{at}")
    later, result = measured(
        tmp_path, plan.model_copy(update={"night_id": "20990101-000000-000-0000"}), FakeDevice(noise=0.003)
    )
    assert judge_nightly(tmp_path, later, result).state == "pass"
    assert history_of(nightly_runs(tmp_path))[0].drifts, "it stays in the history"


def test_nightly_runs_are_asked_with_sql(tmp_path: Path) -> None:
    folder, result = measured(tmp_path, make_plan(tmp_path, slower=0.08))
    judge_nightly(tmp_path, folder, result)
    going_on = make_plan(tmp_path)
    write_plan(tmp_path / "nightly" / going_on.night_id, going_on)
    (damaged := tmp_path / "nightly" / "20000101-000000-000-0000").mkdir()
    (damaged / "plan.json").write_text("{")

    def ask(sql: str) -> list[tuple[Any, ...]]:
        return query(Store(tmp_path), sql, cache=tmp_path / "cache").rows

    states = ask("SELECT night, state, verdict, baseline, slowdown_percent FROM nights ORDER BY started NULLS FIRST")
    assert states == [
        (damaged.name, "damaged", None, None, None),
        (folder.name, "fail", "fail", "main", 0.0),
        (going_on.night_id, "not ended", None, "main", 0.0),
    ]
    cells = ask("SELECT metric, verdict, change, second_change > 0.05, share FROM night_cells")
    assert [row[:2] for row in cells] == [
        ("latency", "fail"),
        ("encoder", "fail"),
        ("prefill", "pass"),
        ("step", "fail"),
    ]
    assert cells[0][2] == pytest.approx(0.08, abs=0.02)
    assert cells[0][3:] == (True, None)
    pairs = "SELECT stage, count(*), median(ln(b_ns / a_ns)) FROM night_pairs WHERE metric = 'step' GROUP BY stage"
    found = {stage: (count, ratio) for stage, count, ratio in ask(pairs)}
    assert {stage: count for stage, (count, _) in found.items()} == {"first": 10, "confirmation": 10}
    assert found["first"][1] == pytest.approx(math.log(1.08), abs=0.02)
    # A nightly run that goes on is read anew.
    NightlyRun(tmp_path / "nightly" / going_on.night_id, going_on, {"phone": FakeDevice()}, notify=quiet).run()
    assert ask(f"SELECT count(*) FROM night_pairs WHERE night = '{going_on.night_id}'") == [(40,)]
