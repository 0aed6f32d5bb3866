"""Find drift: how each cell moved over the nightly runs, and where it reached another level and stayed there.

A nightly run compares B with its A. When the baseline is replaced, the new A is a runner that earlier nightly runs
measured as B. Its level is known, and later nightly runs continue from it: a *chain*. A runner that was never measured
as B begins a chain of its own, and so do runners that differ in precision or words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from harness.measure import change_points
from harness.results.journal import UnitPlan
from harness.results.nightly import CellFacts, NightlyRecord

SEED = 20_240_501
_DECIDED = ("clear", "suspect")
Cell = tuple[str, str, str, str]
"""The device, model, variant and metric."""


@dataclass(frozen=True)
class NightlyPoint:
    """Describe one nightly run of a cell. ``change``, its interval and ``detectable`` are fractions of that run's A."""

    night_id: str
    started: str
    baseline: str
    verdict: str
    change: float
    low: float
    high: float
    detectable: float | None
    level: float
    """The level of B, relative to the chain's first baseline: 1.05 takes 5 % longer than it."""
    commit: str | None
    dirty: bool
    run: str | None


@dataclass(frozen=True)
class Drift:
    """Describe a change of level. ``index`` is that of the first point at the new level."""

    index: int
    night_id: str
    night_before: str
    commit: str | None
    commit_before: str | None
    before: float
    after: float
    p: float

    @property
    def magnitude(self) -> float:
        """Return the change as a fraction: 0.05 for a rise by 5 %."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class CellHistory:
    """Hold all connected nightly runs of a cell. ``chain`` is the baseline with which they begin."""

    device: str
    model: str
    variant: str
    metric: str
    chain: str
    points: tuple[NightlyPoint, ...]
    drifts: tuple[Drift, ...]

    @property
    def cell(self) -> Cell:
        return self.device, self.model, self.variant, self.metric


@dataclass
class _Chain:
    name: str
    points: list[NightlyPoint] = field(default_factory=list)


@dataclass
class _Levels:
    """Hold the known levels of a cell's runners, by their SHA-256."""

    of_a: dict[str, tuple[_Chain, float]] = field(default_factory=dict)
    """The levels of runners that were a baseline; they are fixed from then on."""
    of_b: dict[str, list[tuple[_Chain, float]]] = field(default_factory=lambda: defaultdict(list))
    chains: list[_Chain] = field(default_factory=list)

    def baseline(self, sha256: str, name: str) -> tuple[_Chain, float]:
        """Return a baseline's chain and log level: the median of the nightly runs that measured it as B, else 0.
        A baseline that was never measured as B begins a chain.
        """
        if sha256 not in self.of_a:
            seen = self.of_b.get(sha256)
            if not seen:
                self.chains.append(_Chain(name))
            chain = seen[-1][0] if seen else self.chains[-1]
            levels = [level for of, level in seen or () if of is chain]
            self.of_a[sha256] = chain, float(np.median(levels)) if levels else 0.0
        return self.of_a[sha256]


def history_of(records: Iterable[NightlyRecord]) -> list[CellHistory]:
    """Return every cell's chains of nightly runs, given the oldest first, with their changes of level.

    Nightly runs that were not judged, were too noisy, calibrated, or were slowed on purpose are left out. One between
    two baselines (``--candidate``) connects them and is no point of its own.
    """
    cells: dict[Cell, _Levels] = defaultdict(_Levels)
    for record in records:
        if record.verdicts is None or record.plan.calibrate or record.slowed:
            continue
        planned = {unit.name: unit for unit in record.plan.units}
        for unit in record.verdicts.units:
            for cell in unit.cells:
                if unit.unit in planned and _usable(cell, record.plan.rule.blurred_above):
                    levels = cells[unit.device, unit.model, unit.variant, cell.metric]
                    _add(levels, record, planned[unit.unit], cell)
    return [
        CellHistory(*cell, chain.name, tuple(chain.points), _drifts(chain.points))
        for cell, levels in cells.items()
        for chain in levels.chains
        if chain.points
    ]


def _usable(cell: CellFacts, most_noise: float) -> bool:
    """Return whether a cell's first session was decided and was not too noisy."""
    return cell.first.outcome in _DECIDED and (cell.first.noise or 0.0) <= most_noise


def _add(levels: _Levels, record: NightlyRecord, unit: UnitPlan, cell: CellFacts) -> None:
    # The second session was only measured because of the first one's result, so it is no fair estimate.
    first = cell.first
    if first.change is None or first.change_low is None or first.change_high is None:
        return
    chain, level = levels.baseline(unit.a.sha256, record.plan.baseline)
    level += math.log1p(first.change)
    levels.of_b[unit.b.sha256].append((chain, level))
    if record.plan.candidate is not None:
        return
    git = unit.b.git
    chain.points.append(
        NightlyPoint(
            night_id=record.night_id,
            started=record.plan.started,
            baseline=record.plan.baseline,
            verdict=cell.verdict,
            change=first.change,
            low=first.change_low,
            high=first.change_high,
            detectable=first.detectable,
            level=math.exp(level),
            commit=git.commit if git else None,
            dirty=git.dirty if git else False,
            run=record.plan.run,
        )
    )


def _drifts(points: list[NightlyPoint]) -> tuple[Drift, ...]:
    found = change_points([point.level for point in points], rng=np.random.default_rng(SEED))
    return tuple(
        Drift(
            index=change.index,
            night_id=points[change.index].night_id,
            night_before=points[change.index - 1].night_id,
            commit=points[change.index].commit,
            commit_before=points[change.index - 1].commit,
            before=change.before,
            after=change.after,
            p=change.p,
        )
        for change in found
    )
