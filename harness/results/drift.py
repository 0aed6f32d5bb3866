"""Drift: how each cell moved over the nights, and where it came to another level and stayed.

A night says how B compares with that night's A. When the baseline is replaced, the new A is a runner that earlier
nights measured as B, so its level is known, and the nights after it go on from there: a *chain*. What was never
measured as B begins a chain of its own, and so do runners that differ in precision or words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.measure import change_points
from harness.results.journal import UnitPlan
from harness.results.nights import CellFacts, NightRecord, nights

SEED = 20_240_501
_DECIDED = ("clear", "suspect")
Cell = tuple[str, str, str, str]
"""Device, model, variant, metric."""


@dataclass(frozen=True)
class NightPoint:
    """A night of a cell. ``change`` with its interval and ``detectable`` are fractions, against that night's A."""

    night_id: str
    started: str
    baseline: str
    verdict: str
    change: float
    low: float
    high: float
    detectable: float | None
    level: float
    """Of B, where the chain's first baseline is 1: 1.05 takes 5 % longer than it."""
    commit: str | None
    dirty: bool
    run: str | None


@dataclass(frozen=True)
class Drift:
    """A change of level. ``index``: of the first point at the new one."""

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
        """As a fraction: 0.05 for a rise by 5 %."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class CellHistory:
    """All nights of a cell that hang together. ``chain``: the baseline they begin with."""

    device: str
    model: str
    variant: str
    metric: str
    chain: str
    points: tuple[NightPoint, ...]
    drifts: tuple[Drift, ...]

    @property
    def cell(self) -> Cell:
        return self.device, self.model, self.variant, self.metric


@dataclass
class _Chain:
    name: str
    points: list[NightPoint] = field(default_factory=list)


@dataclass
class _Levels:
    """What is known of a cell's runners, by their SHA-256."""

    of_a: dict[str, tuple[_Chain, float]] = field(default_factory=dict)
    """Of those that were a baseline: fixed from then on."""
    of_b: dict[str, list[tuple[_Chain, float]]] = field(default_factory=lambda: defaultdict(list))
    chains: list[_Chain] = field(default_factory=list)

    def baseline(self, sha256: str, name: str) -> tuple[_Chain, float]:
        """Its chain and log level: the median of the nights that measured it as B, or the beginning of a chain."""
        if sha256 not in self.of_a:
            seen = self.of_b.get(sha256)
            if not seen:
                self.chains.append(_Chain(name))
            chain = seen[-1][0] if seen else self.chains[-1]
            levels = [level for of, level in seen or () if of is chain]
            self.of_a[sha256] = chain, float(np.median(levels)) if levels else 0.0
        return self.of_a[sha256]


def night_history(results: Path) -> list[CellHistory]:
    """Every cell's chains of nights with their changes of level; changes nothing.

    Left out: nights that were not judged or were too noisy to be, calibrations, and those slowed on purpose. A
    night between two baselines (``--candidate``) connects them and is no point of its own.
    """
    return history_of(nights(results))


def history_of(records: Iterable[NightRecord]) -> list[CellHistory]:
    """The same of nights that were read already, the oldest first."""
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
    """An estimate above what may be said of a noisy session is no better than the others of one."""
    return cell.first.outcome in _DECIDED and (cell.first.noise or 0.0) <= most_noise


def _add(levels: _Levels, record: NightRecord, unit: UnitPlan, cell: CellFacts) -> None:
    # The second session was only measured because of what the first one found, so it is no fair estimate.
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
        NightPoint(
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


def _drifts(points: list[NightPoint]) -> tuple[Drift, ...]:
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
