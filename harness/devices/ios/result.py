"""What a job's outcome means: complete, or why not. The result file's end record decides, no exit status does."""

from __future__ import annotations

from typing import Any

from harness.devices.base import Knob, RunResult
from harness.devices.ios.job import Outcome
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder


def as_result(order: WorkOrder, outcome: Outcome, *, launcher: str, wall: float, knobs: tuple[Knob, ...]) -> RunResult:
    """The result that an outcome is."""
    reader, ended = outcome.reader, outcome.ended
    reason = _reason(outcome)
    reported = reader.end.error if reader.end is not None else None
    # What the runner reported itself it also printed.
    if reason and outcome.log and reported is None and outcome.crash is None:
        reason += quoted(outcome.log.encode()).replace("its stderr", "its output")
    return RunResult(
        order_id=order.order_id,
        records=tuple(reader.records),
        complete=reason is None,
        reason=reason,
        failure=reported,
        exit_status=ended.status if ended is not None and outcome.stopped is None else None,
        wall_seconds=wall,
        knobs=knobs,
        observed=_observed(outcome, launcher),
        resumed=outcome.resumed,
    )


def _observed(outcome: Outcome, launcher: str) -> dict[str, Any]:
    states = [getattr(record, "state", None) for record in outcome.reader.records if record.record == "thermal"]
    return {
        "launcher": launcher,
        "thermal_states": states or None,
        "crash": outcome.crash.report if outcome.crash is not None else None,
    }


def _reason(outcome: Outcome) -> str | None:
    if outcome.stopped:
        return outcome.stopped
    missing = outcome.reader.missing()
    if missing is None:
        return None
    if outcome.lost:
        return "; ".join(part for part in (outcome.lost, outcome.trouble, missing) if part)
    parts = []
    if outcome.crash is not None:
        parts.append(f"the app crashed: {outcome.crash.summary}")
    elif outcome.ended is not None and outcome.reader.end is None:
        status = outcome.ended.status
        parts.append(f"the app {ending_of(status)}" if status is not None else "the app ended without a crash report")
    return "; ".join([*parts, missing])
