"""Prepare a nightly run for the page: its pairs in the order of measuring, and the verdicts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.measure import LATENCY, PARTS
from harness.report.conditions import nightly_warnings
from harness.results.journal import Journal, RunLine, Stage, UnitPlan, read_journal
from harness.results.nightly import CellFacts, NightlyRecord, UnitFacts


@dataclass(frozen=True)
class PairOfRuns:
    """Hold the runs of baseline and candidate, side by side."""

    stage: Stage
    attempt: int
    a: RunLine
    b: RunLine


@dataclass(frozen=True)
class UnitView:
    """Hold a variant of a model on a device. ``facts`` are the verdicts, None before it was judged."""

    plan: UnitPlan
    facts: UnitFacts | None
    pairs: Sequence[PairOfRuns]

    @cached_property
    def runs(self) -> list[RunLine]:
        """Return the runs of both sides, in the order in which they ran."""
        return sorted((line for pair in self.pairs for line in (pair.a, pair.b)), key=lambda line: line.started)

    @property
    def latency(self) -> CellFacts | None:
        cells = self.facts.cells if self.facts else ()
        return next((cell for cell in cells if cell.metric == LATENCY), None)

    @cached_property
    def warnings(self) -> list[str]:
        """Return warnings about what was throttled or denied."""
        return list(nightly_warnings(self.runs))

    @cached_property
    def words(self) -> dict[str, tuple[str, str]] | None:
        """Return the language and word of each item of G2P; None for a tensor workload."""
        if self.plan.comparison is not None:
            return None
        return {item.id: (item.subset, item.label) for item in self.plan.a.order.items}

    def times(self, side: str) -> NDArray[np.int64]:
        """Return the nanoseconds of every timed pass of one side."""
        taken = (total for line in self._side(side) for _, total in line.samples)
        return np.fromiter(taken, dtype=np.int64)

    def item_times(self, side: str) -> dict[str, list[int]]:
        """Return the nanoseconds of one side's timed passes by item."""
        found: dict[str, list[int]] = {}
        for line in self._side(side):
            for item, total in line.samples:
                found.setdefault(item, []).append(total)
        return found

    def parts(self, side: str) -> NDArray[np.int64] | None:
        """Return encoder, prefill, steps and the rest as [passes, 4].

        Returns None for a tensor workload, which has no parts, and for an older journal without parts.
        """
        if self.plan.comparison is not None:
            return None
        rows = [
            [*spent, total - sum(spent)]
            for line in self._side(side)
            for (_, total), parts in zip(line.samples, line.parts, strict=False)
            for spent in [[parts.get(part, (0, 0))[0] for part in PARTS]]
        ]
        return np.array(rows, dtype=np.int64) if rows else None

    def _side(self, side: str) -> list[RunLine]:
        return [line for line in self.runs if line.side == side]


@dataclass(frozen=True)
class NightlyView:
    name: str
    """The name: N1, N2, …"""
    record: NightlyRecord
    journal: Journal
    units: Sequence[UnitView]

    @property
    def title(self) -> str:
        plan = self.record.plan
        devices = ", ".join(dict.fromkeys(unit.device for unit in plan.units))
        against = plan.candidate or (f"run {plan.run}" if plan.run else "the sources")
        return f"{devices} · {against} against {plan.baseline}"


def nightly_view(record: NightlyRecord, at: int) -> NightlyView:
    """Read a nightly run's journal; raises RunDamaged."""
    journal = read_journal(record.folder)
    facts = {unit.unit: unit for unit in record.verdicts.units} if record.verdicts else {}
    units = [UnitView(unit, facts.get(unit.name), _pairs(journal, unit.name)) for unit in record.plan.units]
    return NightlyView(f"N{at + 1}", record, journal, units)


def _pairs(journal: Journal, unit: str) -> list[PairOfRuns]:
    return [
        PairOfRuns(stage, attempt, a, b)
        for stage, attempt in journal.sessions(unit)
        for a, b in journal.pairs(unit, stage, attempt)
    ]
