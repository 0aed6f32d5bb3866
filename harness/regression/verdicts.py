"""End a nightly run: keep its verdicts, and search all nightly runs together for drift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.core.errors import ExitCode
from harness.devices.workstation import commits_between
from harness.measure import LATENCY, CellVerdict, GateVerdict, Judgement, Session, overall
from harness.measure.drift import WINDOW
from harness.regression.limits import LimitVerdict
from harness.regression.nightly import NightlyResult, UnitResult
from harness.results import now
from harness.results.drift import CellHistory, Drift, history_of
from harness.results.nightly import (
    UNDECIDED,
    CellFacts,
    DriftFacts,
    LimitFacts,
    NightlyRecord,
    SessionFacts,
    UnitFacts,
    Verdicts,
    nightly_runs,
    read_nightly,
    write_verdicts,
)

FRESH_RUNS = WINDOW // 2
"""How many nightly runs warn of a drift, from the first one at the new level."""


def judge_nightly(
    results: Path, folder: Path, result: NightlyResult, others: Sequence[NightlyRecord] = ()
) -> NightlyRecord:
    """Write ``verdicts.json``, with a warning for each fresh drift to a slower level of a cell measured now.

    ``others`` are nightly runs of other machines, among which drift is looked for, too. Raises StorageFull or
    StorageUnwritable.
    """
    verdicts = _verdicts(result)
    # These verdicts must be stored before the nightly runs are searched.
    write_verdicts(folder, verdicts)
    if drifts := _fresh_drifts([*nightly_runs(results), *others], folder, verdicts):
        verdict = overall([result.verdict, GateVerdict.WARN])
        write_verdicts(folder, verdicts.model_copy(update={"drifts": drifts, "verdict": verdict.value}))
    return read_nightly(folder)


def exit_code(record: NightlyRecord) -> ExitCode:
    """Return the exit code of a judged nightly run; one without verdicts is an infrastructure failure."""
    codes = {GateVerdict.FAIL.value: ExitCode.FAILURE, GateVerdict.INCONCLUSIVE.value: ExitCode.INFRASTRUCTURE}
    return codes.get(record.verdicts.verdict, ExitCode.OK) if record.verdicts else ExitCode.INFRASTRUCTURE


def _fresh_drifts(records: Iterable[NightlyRecord], folder: Path, verdicts: Verdicts) -> list[DriftFacts]:
    current = {
        (unit.device, unit.model, unit.variant, cell.metric)
        for unit in verdicts.units
        for cell in unit.cells
        if not unit.emulated
    }
    # A resumed nightly run may not be the last one, and later nightly runs do not concern it.
    known = {record.night_id: record for record in records}
    until = [known[night_id] for night_id in sorted(known) if night_id <= folder.name]
    found = []
    for history in history_of(until):
        ends_now = history.points[-1].night_id == folder.name
        if history.cell in current and ends_now and history.drifts:
            last = history.drifts[-1]
            if last.magnitude > 0 and len(history.points) - last.index <= FRESH_RUNS:
                found.append(_drift(history, last))
    return found


def _drift(history: CellHistory, drift: Drift) -> DriftFacts:
    commits = None
    if drift.commit and drift.commit_before:
        commits = commits_between(Path.cwd(), drift.commit_before, drift.commit)
    return DriftFacts(
        device=history.device,
        model=history.model,
        variant=history.variant,
        metric=history.metric,
        chain=history.chain,
        night_id=drift.night_id,
        night_before=drift.night_before,
        commit=drift.commit,
        commit_before=drift.commit_before,
        commits=commits,
        before=drift.before,
        after=drift.after,
        p=drift.p,
    )


def _verdicts(result: NightlyResult) -> Verdicts:
    return Verdicts(
        night_id=result.plan.night_id,
        baseline=result.plan.baseline,
        verdict=result.verdict.value,
        run=result.plan.run,
        ended=now(),
        units=[_unit(unit) for unit in result.units],
    )


def _unit(result: UnitResult) -> UnitFacts:
    return UnitFacts(
        unit=result.unit.name,
        device=result.unit.device,
        model=result.unit.model,
        variant=result.unit.variant,
        verdict=result.verdict.value,
        cells=[_cell(metric, found, result.shares.get(metric)) for metric, found in result.cells.items()],
        limits=[_limit(of) for of in result.limits],
        emulated=result.unit.emulated,
    )


def _limit(found: LimitVerdict) -> LimitFacts:
    facts = LimitFacts(metric=found.metric, verdict=found.verdict.value, cause=found.cause)
    if (grown := found.growth) is None:
        return facts
    return facts.model_copy(update={"a": grown.a, "b": grown.b, "allowed": grown.limit})


def _cell(metric: str, found: CellVerdict, share: float | None) -> CellFacts:
    second = found.sessions.second
    return CellFacts(
        metric=metric,
        verdict=found.verdict.value,
        cause=found.cause,
        adjusted_p=found.adjusted_p,
        share=None if metric == LATENCY else share,
        first=_session(found.sessions.first),
        second=None if second is None else _session(second),
    )


def _session(found: Session) -> SessionFacts:
    if not isinstance(found, Judgement):
        return SessionFacts(outcome=UNDECIDED, cause=found.cause)
    return SessionFacts(
        outcome=found.outcome.value,
        pairs=found.shift.pairs,
        change=found.change,
        change_low=found.change_low,
        change_high=found.change_high,
        threshold=found.threshold,
        detectable=found.detectable if math.isfinite(found.detectable) else None,
        p=found.shift.p,
        noise=found.shift.noise,
    )
