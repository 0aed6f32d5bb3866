"""Simulate how often the gate raises a false alarm or finds a regression, beside the rules that others use.

    python benchmarks/gate.py                           # 1,000 nightly runs each of no change, +5 % and +10 %
    python benchmarks/gate.py --cells 12 --nightly-runs 300   # twelve cells each, one of them changed
    python benchmarks/gate.py --quick --json gate.json

The gate is the one of ``harness nightly``: the same functions decide about extension, repetition, confirmation and
verdict. Exit status 1 if it misses what it is meant to reach (from 300 nightly runs on): at most 1 % of those without a
change flagged, +5 % found on at least 95 % and +10 % on at least 99 %.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from benchmarks.simulated_nightly import Effort, World, calibration, gated, naive
from benchmarks.tables import terminal
from harness.core.errors import ExitCode
from harness.measure import DEFAULT_RULE, Floor, GateVerdict, change_points, judge_cells
from harness.measure.drift import WINDOW

CHANGES = (0.0, 0.05, 0.10)
MOST_FALSE = 0.01
LEAST_FOUND = {0.05: 0.95, 0.10: 0.99}
JUDGED_FROM = 300
QUICK_RUNS = 40
DRIFT_SERIES = 300
NAIVE = {
    "last_run": "5 % against the last run",
    "mann_whitney": "Mann-Whitney on raw iterations, p < .05",
    "t_test": "t-test against 30 runs, .99",
}


@dataclass(frozen=True)
class Share:
    """``count`` of ``nightly_runs``, with Clopper & Pearson's (1934) exact 95 % interval."""

    count: int
    nightly_runs: int

    @property
    def share(self) -> float:
        return self.count / self.nightly_runs

    def interval(self) -> tuple[float, float]:
        found = stats.binomtest(self.count, self.nightly_runs).proportion_ci(method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.share:.1%} [{low:.1%}, {high:.1%}]"


@dataclass(frozen=True)
class Tally:
    """All nightly runs of one change. ``changed``: verdicts of the cell that changed; ``elsewhere``: those in which
    another cell failed."""

    change: float
    changed: dict[str, int]
    elsewhere: int
    nightly_runs: int
    naive: dict[str, int]
    sessions: int
    pairs: int
    detectable: float
    """Median over nightly runs of the minimum detectable effect that was shown."""

    @property
    def flagged(self) -> Share:
        return Share(self.changed.get(GateVerdict.FAIL.value, 0), self.nightly_runs)

    @property
    def reached(self) -> bool:
        if self.change in LEAST_FOUND:
            return self.flagged.share >= LEAST_FOUND[self.change]
        return self.flagged.share <= MOST_FALSE


def simulate(
    world: World, floor: Floor, change: float, nightly_runs: int, cells: int, rng: np.random.Generator, console: Console
) -> Tally:
    """``nightly_runs`` independent nightly runs in which the first of ``cells`` cells is slower by ``change``."""
    verdicts: Counter[str] = Counter()
    alarms: Counter[str] = Counter()
    effort, elsewhere, detectable = Effort(), 0, []
    for _ in track(range(nightly_runs), f"{change:+.0%}", console=console, transient=True):
        found = judge_cells(
            {at: gated(world, DEFAULT_RULE, floor, 0.0 if at else change, rng, effort) for at in range(cells)}
        )
        verdicts[found[0].verdict.value] += 1
        elsewhere += any(found[at].verdict is GateVerdict.FAIL for at in range(1, cells))
        first = found[0].sessions.first
        detectable.append(getattr(first, "detectable", np.nan))
        alarms.update(name for name, raised in asdict(naive(world, DEFAULT_RULE, change, rng)).items() if raised)
    return Tally(
        change=change,
        changed=dict(verdicts),
        elsewhere=elsewhere,
        nightly_runs=nightly_runs,
        naive={name: alarms[name] for name in NAIVE},
        sessions=effort.sessions,
        pairs=effort.pairs,
        detectable=float(np.nanmedian(detectable)),
    )


@dataclass(frozen=True)
class DriftTally:
    """Change points in series of a window's nightly runs, without a step and with one two thirds through."""

    noise: float
    step: float
    false: Share
    found: Share
    """Within one nightly run of where the step is."""


def simulate_drift(series: int, rng: np.random.Generator) -> DriftTally:
    noise, step, at = 0.02, 0.06, 20
    false = found = 0
    for _ in range(series):
        nightly_runs = np.exp(rng.normal(0, noise, WINDOW))
        false += bool(change_points(nightly_runs, rng=rng))
        nightly_runs[at:] *= 1 + step
        found += any(abs(point.index - at) <= 1 for point in change_points(nightly_runs, rng=rng))
    return DriftTally(noise, step, Share(false, series), Share(found, series))


def show_drift(console: Console, drift: DriftTally) -> None:
    console.print(
        f"drift over {WINDOW} nightly runs with {drift.noise:.0%} noise: {drift.false} false alarms without a step; "
        f"one of {drift.step:+.0%} found, within one nightly run: {drift.found}"
    )


def show(console: Console, world: World, floor: Floor, tallies: list[Tally], cells: int) -> None:
    console.print(
        f"session effect {world.session_effect:.1%}, process noise {world.process_noise:.1%}, "
        f"{world.throttled:.0%} of the sessions throttled, {cells} cell(s) a nightly run; "
        f"the device's floor is {floor.change:.1%} ({floor.sessions} A/A sessions)"
    )
    table = Table()
    table.add_column("nightly runs flagged")
    for tally in tallies:
        table.add_column("no change" if not tally.change else f"{tally.change:+.0%}", justify="right")
    for name, title in NAIVE.items():
        table.add_row(title, *(str(Share(tally.naive[name], tally.nightly_runs)) for tally in tallies))
    table.add_row("interleaved pairs, confirmed (the gate)", *(str(tally.flagged) for tally in tallies), style="bold")
    table.add_section()
    for verdict in (GateVerdict.WARN, GateVerdict.INCONCLUSIVE):
        shares = [Share(tally.changed.get(verdict.value, 0), tally.nightly_runs) for tally in tallies]
        table.add_row(f"the gate: {verdict.value}", *map(str, shares))
    if cells > 1:
        table.add_row("the gate: another cell failed", *(str(Share(t.elsewhere, t.nightly_runs)) for t in tallies))
    table.add_row("minimum detectable effect, median", *(f"{tally.detectable:.1%}" for tally in tallies))
    table.add_row("sessions a cell and nightly run", *(f"{t.sessions / t.nightly_runs / cells:.2f}" for t in tallies))
    table.add_row("pairs a session", *(f"{tally.pairs / tally.sessions:.1f}" for tally in tallies))
    console.print(table)


def document(
    world: World, floor: Floor, tallies: list[Tally], drift: DriftTally, *, cells: int, seed: int
) -> dict[str, Any]:
    return {
        "seed": seed,
        "cells": cells,
        "world": asdict(world),
        "rule": asdict(DEFAULT_RULE),
        "floor": asdict(floor),
        "drift": asdict(drift),
        "tallies": [
            asdict(t) | {"flagged": t.flagged.share, "interval": t.flagged.interval(), "reached": t.reached}
            for t in tallies
        ],
    }


def main(
    nightly_runs: Annotated[int, typer.Option(min=1, help="of each change")] = 1000,
    cells: Annotated[int, typer.Option(min=1, help="device × model × variant × metric, of each nightly run")] = 1,
    seed: Annotated[int, typer.Option(help="the same seed gives the same figures")] = 1,
    session_effect: Annotated[float, typer.Option(help="between nightly runs and sessions")] = World.session_effect,
    process_noise: Annotated[float, typer.Option(help="between processes of one session")] = World.process_noise,
    throttled: Annotated[float, typer.Option(min=0, max=1, help="share of sessions")] = World.throttled,
    quick: Annotated[bool, typer.Option(help=f"{QUICK_RUNS} nightly runs, not judged")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all figures here")] = None,
) -> None:
    """Simulate nightly runs, and print the verdicts of the gate and of the naive rules."""
    console = terminal()
    if quick:
        nightly_runs = QUICK_RUNS
    rng = np.random.default_rng(seed)
    world = World(session_effect=session_effect, process_noise=process_noise, throttled=throttled)
    floor = calibration(world, DEFAULT_RULE, rng)
    tallies = [simulate(world, floor, change, nightly_runs, cells, rng, console) for change in CHANGES]
    show(console, world, floor, tallies, cells)
    drift = simulate_drift(min(nightly_runs, DRIFT_SERIES), rng)
    show_drift(console, drift)
    if json_path:
        json_path.write_text(
            json.dumps(document(world, floor, tallies, drift, cells=cells, seed=seed), indent=1) + "\n",
            encoding="utf-8",
        )
    missed = [f"{tally.change:+.0%}" for tally in tallies if not tally.reached]
    missed += ["cells without a change" for tally in tallies if tally.elsewhere > MOST_FALSE * tally.nightly_runs]
    if nightly_runs < JUDGED_FROM:
        console.print(f"{nightly_runs} nightly runs are too few to judge by; {JUDGED_FROM} are needed")
    elif missed:
        console.print(f"missed: {', '.join(missed)}")
        sys.exit(ExitCode.FAILURE)
    else:
        console.print("reached: at most 1 % of unchanged nightly runs flagged, 95 % of +5 % and 99 % of +10 % found")


if __name__ == "__main__":
    typer.run(main)
