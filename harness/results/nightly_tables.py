"""Make rows from a nightly run's folder: ``nights``, ``night_cells`` and ``night_pairs`` of ``harness query``.

``docs/history.md`` explains every column. Times are nanoseconds, changes fractions, moments UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.results.errors import RunDamaged
from harness.results.tables import DAMAGED, FolderTable, Row, Table, utc

if TYPE_CHECKING:
    from harness.results.journal import UnitPlan
    from harness.results.nightly import CellFacts, NightlyRecord, SessionFacts

# Defined here because their own module loads the statistics, and a query over runs does not need them.
_PLAN, _JOURNAL, _VERDICTS = "plan.json", "journal.jsonl", "verdicts.json"
_SESSION = ("outcome", "change", "change_low", "change_high", "detectable", "noise", "p", "pairs")


def _read(folder: Path) -> NightlyRecord:
    from harness.results.nightly import read_nightly

    return read_nightly(folder)


def _nightly_runs(folder: Path) -> Iterator[Row]:
    try:
        record = _read(folder)
    except RunDamaged as error:
        yield {"night": folder.name, "state": DAMAGED, "reason": str(error).splitlines()[0]}
        return
    plan, verdicts = record.plan, record.verdicts
    git = next((unit.b.git for unit in plan.units if unit.b.git), None)
    yield {
        "night": folder.name,
        "state": record.state,
        "verdict": verdicts.verdict if verdicts else None,
        "started": utc(plan.started),
        "ended": utc(verdicts.ended) if verdicts else None,
        "baseline": plan.baseline,
        "candidate": plan.candidate,
        "run": plan.run,
        "commit": git.commit if git else None,
        "dirty": git.dirty if git else None,
        "slowdown_percent": record.slowed,
        "drifts": [drift.model_dump(mode="json") for drift in verdicts.drifts] if verdicts else [],
        "devices": plan.facts,
    }


def _cells(folder: Path) -> Iterator[Row]:
    try:
        record = _read(folder)
    except RunDamaged:
        return
    for unit in record.verdicts.units if record.verdicts else ():
        for cell in unit.cells:
            yield {
                "night": folder.name,
                **{key: getattr(unit, key) for key in ("device", "model", "variant")},
                **_cell(cell),
            }


def _cell(cell: CellFacts) -> Row:
    known: Row = {key: getattr(cell, key) for key in ("metric", "verdict", "cause", "share", "adjusted_p")}
    again = {"second_outcome": cell.second.outcome, "second_change": cell.second.change} if cell.second else {}
    return known | _session(cell.first) | again


def _session(found: SessionFacts) -> Row:
    return {key: getattr(found, key) for key in _SESSION}


def _pairs(folder: Path) -> Iterator[Row]:
    from harness.results.journal import read_journal, read_plan

    try:
        plan, journal = read_plan(folder), read_journal(folder)
    except RunDamaged:
        return
    for unit in plan.units:
        for stage, attempt in journal.sessions(unit.name):
            for pair, (a, b) in enumerate(journal.pairs(unit.name, stage, attempt)):
                where = {"night": folder.name, **_unit(unit), "stage": stage, "attempt": attempt, "pair": pair}
                for metric in {"latency": None} | a.figures:
                    figures = {"a_ns": a.of_metric(metric), "b_ns": b.of_metric(metric)}
                    moments = {"a_started": utc(a.started), "b_started": utc(b.started)}
                    yield {**where, "metric": metric, **figures, **moments}


def _unit(unit: UnitPlan) -> Row:
    return {key: getattr(unit, key) for key in ("device", "model", "variant")}


_CELL = {"device": "VARCHAR", "model": "VARCHAR", "variant": "VARCHAR", "metric": "VARCHAR"}

NIGHTLY_TABLES: tuple[Table, ...] = (
    FolderTable(
        "nights",
        {
            "night": "VARCHAR",
            "state": "VARCHAR",
            "verdict": "VARCHAR",
            "reason": "VARCHAR",
            "started": "TIMESTAMP",
            "ended": "TIMESTAMP",
            "baseline": "VARCHAR",
            "candidate": "VARCHAR",
            "run": "VARCHAR",
            "commit": "VARCHAR",
            "dirty": "BOOLEAN",
            "slowdown_percent": "DOUBLE",
            "drifts": "JSON",
            "devices": "JSON",
        },
        (_PLAN, _VERDICTS),
        _nightly_runs,
    ),
    FolderTable(
        "night_cells",
        {
            "night": "VARCHAR",
            **_CELL,
            "verdict": "VARCHAR",
            "cause": "VARCHAR",
            "share": "DOUBLE",
            "outcome": "VARCHAR",
            "change": "DOUBLE",
            "change_low": "DOUBLE",
            "change_high": "DOUBLE",
            "detectable": "DOUBLE",
            "noise": "DOUBLE",
            "p": "DOUBLE",
            "adjusted_p": "DOUBLE",
            "pairs": "BIGINT",
            "second_outcome": "VARCHAR",
            "second_change": "DOUBLE",
        },
        (_PLAN, _VERDICTS),
        _cells,
    ),
    FolderTable(
        "night_pairs",
        {
            "night": "VARCHAR",
            **_CELL,
            "stage": "VARCHAR",
            "attempt": "BIGINT",
            "pair": "BIGINT",
            "a_ns": "DOUBLE",
            "b_ns": "DOUBLE",
            "a_started": "TIMESTAMP",
            "b_started": "TIMESTAMP",
        },
        (_PLAN, _JOURNAL),
        _pairs,
    ),
)
