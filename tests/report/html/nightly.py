"""Nightly runs that the tests of the HTML report share: one measured on a phone that throttles, and many before it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.devices import Knob, OnRecord, RunResult
from harness.protocol.schema import WorkOrder
from harness.regression.nightly import NightlyRun
from harness.regression.verdicts import judge_nightly
from harness.results import Git
from harness.results.journal import Plan, UnitPlan, write_plan
from harness.results.nightly import (
    CellFacts,
    NightlyRecord,
    SessionFacts,
    UnitFacts,
    Verdicts,
    nightly_folders,
    read_nightly,
    write_verdicts,
)
from tests.nightly import FakeDevice, make_plan

BEFORE, STEP_AT, STEP = 24, 13, 0.07
"""So many nightly runs before the measured ones; from STEP_AT on they are slower by STEP."""


DENIED = Knob(name="fixed_performance", state="denied", detail="Permission denial")


def cool() -> dict[str, Any]:
    """What a phone reports while it is cool, as the devices' parsers give it."""
    return {
        "thermal_status": 0,
        "thermal_headroom": 0.62,
        "skin_celsius": 31.5,
        "battery_percent": 81,
        "battery_celsius": 29.4,
        "charging": "charging",
        "governors": {"0": "schedutil", "7": "schedutil"},
        "clock_khz": {"0": 614400, "7": 1267200},
        "clock_limit_khz": {"0": 1804800, "7": 2995200},
    }


def hot() -> dict[str, Any]:
    return cool() | {
        "thermal_status": 2,
        "thermal_headroom": 0.97,
        "skin_celsius": 43.8,
        "battery_celsius": 36.9,
        "clock_limit_khz": {"0": 1804800, "7": 1843200},
    }


def seen(*, throttled: bool) -> dict[str, Any]:
    """What was observed of a phone while a runner ran."""
    fast = (
        {"min": 1324800, "median": 1612800, "max": 2995200}
        if throttled
        else dict.fromkeys(("min", "median", "max"), 2995200)
    )
    return {
        "clock_looks": 12,
        "clock_khz": {"0": dict.fromkeys(("min", "median", "max"), 1804800), "7": fast},
        "thermal_status_highest": 2 if throttled else 0,
    }


class Phone(FakeDevice):
    """From its run ``hot_from`` on it throttles, and reports it."""

    def __init__(self, *, hot_from: int = 10**6, **more: Any) -> None:
        super().__init__(throttled_from=hot_from, **more)
        self._hot_from = hot_from

    def conditions(self) -> dict[str, Any]:
        return hot() if len(self.ran) >= self._hot_from else cool()

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = 600.0,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        throttled = len(self.ran) >= self._hot_from
        result = super().run(runner, order, workdir, deadline, on_record)
        knobs = (Knob(name="pinned", state="applied", detail="cores 7"), *((DENIED,) if throttled else ()))
        return replace(result, observed=seen(throttled=throttled), knobs=knobs)


def measured_nightly(results: Path, runners: Path, *, device: FakeDevice, **more: Any) -> NightlyRecord:
    """A nightly run of its own, really measured on the fake device; ``more`` is for ``make_plan``."""
    runners.mkdir(exist_ok=True)
    plan = make_plan(runners, **more)
    folder = results / "nightly" / plan.night_id
    write_plan(folder, plan)
    result = NightlyRun(folder, plan, {"phone": device}, notify=lambda _line: None).run()
    return judge_nightly(results, folder, result)


def past_nightly_runs(results: Path, runners: Path) -> None:
    """Written as they are kept, without measuring anything; the same baseline as that of measured nightly runs."""
    runners.mkdir(exist_ok=True)
    unit = make_plan(runners).units[0]
    rng = random.Random(7)
    for at in range(1, BEFORE + 1):
        change = (STEP if at >= STEP_AT else 0.0) + rng.gauss(0, 0.006)
        _past_nightly(results, unit, at, change)


def _past_nightly(results: Path, unit: UnitPlan, at: int, change: float) -> None:
    night_id = f"20260{1 + at // 28}{1 + at % 28:02d}-210000-000-{at:04x}"
    git = Git(commit=f"{0xC0FFEE00 + at:x}".ljust(40, "0"), dirty=False)
    unit = unit.model_copy(update={"b": unit.b.model_copy(update={"sha256": f"b{at}", "git": git})})
    facts = {"night_id": night_id, "started": f"2026-01-01T21:00:{at:02d}Z", "baseline": "main", "units": [unit]}
    write_plan(results / "nightly" / night_id, Plan.model_validate(facts))
    session = SessionFacts(
        outcome="clear", pairs=10, change=change, change_low=change - 0.012, change_high=change + 0.012
    )
    cells = [CellFacts(metric="latency", verdict="pass", first=session)]
    kept = UnitFacts(
        unit=unit.name,
        device=unit.device,
        model=unit.model,
        variant=unit.variant,
        verdict="pass",
        cells=cells,
        limits=[],
    )
    write_verdicts(
        results / "nightly" / night_id, Verdicts(night_id=night_id, baseline="main", verdict="pass", units=[kept])
    )


def two_nightly_runs(root: Path) -> list[NightlyRecord]:
    """The latest one on a phone that throttled, slower and larger; the one before it quiet. And all those before."""
    results, runners = root / "results", root / "runners"
    past_nightly_runs(results, runners)
    quiet = measured_nightly(results, runners, device=Phone(seed=3))
    bad = measured_nightly(results, runners, device=Phone(hot_from=13), slower=0.09, size=5_500_000)
    assert [folder.name for folder in nightly_folders(results)][-2:] == [quiet.night_id, bad.night_id]
    return [read_nightly(bad.folder), read_nightly(quiet.folder)]
