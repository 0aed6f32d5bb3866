"""Report how cells moved over nightly runs: a line for each cell, and every change of level with its commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH
from harness.results.drift import Cell, CellHistory, Drift
from harness.results.nightly import NightlyRecord

Commits = Mapping[tuple[Cell, str], Sequence[str]]
"""Lines about commits, by cell and first nightly run at the new level."""
FEWEST = 2
"""The fewest nightly runs with a history."""


def commits_of(records: Iterable[NightlyRecord]) -> Commits:
    """Return the commits of each drift, from the nightly runs' own verdicts."""
    found: dict[tuple[Cell, str], Sequence[str]] = {}
    for record in records:
        for drift in record.verdicts.drifts if record.verdicts else ():
            if drift.commits is not None:
                found[(drift.device, drift.model, drift.variant, drift.metric), drift.night_id] = drift.commits
    return found


def history_report(histories: Sequence[CellHistory], commits: Commits) -> list[Block]:
    """Return the history of cells with at least two nightly runs; nothing if there are none."""
    shown = [history for history in histories if len(history.points) >= FEWEST]
    if not shown:
        return []
    blocks: list[Block] = [Heading("History over nightly runs"), _levels(shown)]
    changes = [(history, drift) for history in shown for drift in history.drifts]
    if not changes:
        return [*blocks, Line("No change point in any of them: no cell came to another level and stayed there.")]
    rows = [_change(history, drift, commits) for history, drift in changes]
    header = ["change point", "first nightly run", "the one before", "level", "change", "p", "commits between"]
    return [
        *blocks,
        Line(f"{len(changes)} change {'point' if len(changes) == 1 else 'points'} over nightly runs", Tone.UNSURE),
        Table(
            header, rows, numbers=False, note="E-divisive over the levels (docs/measuring.md); a warning, no verdict."
        ),
    ]


def cell_name(history: CellHistory) -> str:
    return f"{history.device}/{history.variant} {history.metric}"


def _levels(shown: Sequence[CellHistory]) -> Table:
    rows = [
        [
            cell_name(history),
            history.chain,
            str(len(history.points)),
            *(f"{point.level:.3f}" for point in (history.points[0], history.points[-1])),
            f"{min(point.level for point in history.points):.3f} … {max(point.level for point in history.points):.3f}",
        ]
        for history in shown
    ]
    return Table(
        ["cell", "since baseline", "nightly runs", "first level", "last level", "range"],
        rows,
        note="Level: the candidate's time, where the first baseline's is 1. Each nightly run compares with its own "
        "baseline, and replaced baselines are chained.",
    )


def _change(history: CellHistory, drift: Drift, commits: Commits) -> list[str]:
    return [
        cell_name(history),
        drift.night_id,
        drift.night_before,
        f"{drift.before:.3f} → {drift.after:.3f}",
        f"{drift.magnitude:+.1%}",
        f"{drift.p:.3f}",
        _between(drift, commits.get((history.cell, drift.night_id))),
    ]


def _between(drift: Drift, listed: Sequence[str] | None) -> str:
    if listed:
        return "; ".join(listed)
    if drift.commit is None or drift.commit_before is None:
        return DASH
    if drift.commit == drift.commit_before:
        return f"none: both nightly runs at {drift.commit[:12]}"
    return f"{drift.commit_before[:12]}..{drift.commit[:12]}"
