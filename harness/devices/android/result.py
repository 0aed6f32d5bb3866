"""What a job's outcome means: complete, or why not."""

from __future__ import annotations

from typing import Any

from harness.devices.android.job import Outcome
from harness.devices.base import Knob, RunResult
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder

_SIGNALS_FROM = 128
"""A shell tells a signal by adding this to its number."""


def as_result(
    order: WorkOrder, outcome: Outcome, *, wall: float, knobs: list[Knob], observed: dict[str, Any]
) -> RunResult:
    """The result that an outcome is."""
    reader, ending = outcome.reader, outcome.ending
    status = _status(ending.status) if ending is not None else None
    reason = _reason(outcome, status)
    reported = reader.end.error if reader.end is not None else None
    # What the runner reported itself it also wrote to stderr.
    if reason and ending is not None and ending.log and reported is None:
        reason += quoted(ending.log.encode())
    return RunResult(
        order_id=order.order_id,
        records=tuple(reader.records),
        complete=reason is None,
        reason=reason,
        failure=reported,
        exit_status=status if ending is not None and ending.stopped is None else None,
        wall_seconds=wall,
        knobs=tuple(knobs),
        observed=observed,
        resumed=outcome.resumed,
    )


def _reason(outcome: Outcome, status: int | None) -> str | None:
    reader, ending = outcome.reader, outcome.ending
    if ending is not None and ending.stopped:
        return ending.stopped
    missing = reader.missing()
    if outcome.lost:
        # The result may be whole although nobody saw the runner end.
        return (
            "; ".join(part for part in (outcome.lost, outcome.trouble, missing) if part) if missing else outcome.trouble
        )
    parts = []
    if status and not (reader.end is not None and status == 1 and missing):
        parts.append(f"the runner {ending_of(status)}")
    parts += [part for part in (outcome.trouble, missing) if part]
    return "; ".join(parts) or None


def _status(status: int | None) -> int | None:
    return _SIGNALS_FROM - status if status is not None and status > _SIGNALS_FROM else status
