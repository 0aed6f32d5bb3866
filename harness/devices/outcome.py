"""Hold the outcome of an order on a device, and make a result from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.devices.base import Knob, RunResult
from harness.devices.collect import ResultReader
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder


@dataclass(frozen=True)
class Outcome:
    """Hold the outcome of an order. ``reader`` holds the records of all its processes."""

    reader: ResultReader
    ended: bool = False
    """True if the last process ended on its own."""
    status: int | None = None
    """Its exit status then, negative for a signal; None if it is not known."""
    stopped: str | None = None
    """Why the runner was ended, if it was."""
    lost: str | None = None
    """Why the device was lost, if it was; this explains missing records."""
    trouble: str | None = None
    """Why the records cannot be trusted or are not whole, whatever they contain."""
    log: str = ""
    """The end of the runner's output that is not records."""
    resumed: int = 0


def reason_of(outcome: Outcome) -> str | None:
    """Return why a result is incomplete, or None. An exit status other than 0 counts as a reason here."""
    if outcome.stopped:
        return outcome.stopped
    missing, status = outcome.reader.missing(), outcome.status
    if outcome.lost:
        # The result may be whole although nobody saw the runner end.
        return joined(outcome.lost, outcome.trouble, missing) if missing else outcome.trouble
    # A runner that reported an error itself exits with 1, and its report has more details.
    reported = outcome.reader.end is not None and status == 1 and missing
    return joined(f"the runner {ending_of(status)}" if status and not reported else None, outcome.trouble, missing)


def joined(*parts: str | None) -> str | None:
    """Return the parts that are not empty as one reason, or None."""
    return "; ".join(part for part in parts if part) or None


def as_result(
    order: WorkOrder,
    outcome: Outcome,
    reason: str | None,
    *,
    wall: float,
    knobs: Sequence[Knob] = (),
    observed: dict[str, Any] | None = None,
    log_name: str = "stderr",
) -> RunResult:
    """Return the result of an outcome; it is incomplete if there is a ``reason``."""
    reader = outcome.reader
    reported = reader.end.error if reader.end is not None else None
    # The runner has also printed an error that it reported.
    if reason and reported is None:
        reason += quoted(outcome.log.encode(), log_name)
    return RunResult(
        order_id=order.order_id,
        records=tuple(reader.records),
        complete=reason is None,
        reason=reason,
        failure=reported,
        exit_status=outcome.status if outcome.stopped is None else None,
        wall_seconds=wall,
        knobs=tuple(knobs),
        observed=observed or {},
        resumed=outcome.resumed,
    )
