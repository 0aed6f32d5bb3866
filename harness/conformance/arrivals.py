"""What of a run has arrived, and what is made to happen when it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.devices.base import AnyRecord
from harness.protocol.schema import Sample


def samples(records: Sequence[AnyRecord]) -> int:
    return sum(isinstance(record, Sample) for record in records)


def at_sample(*numbers: int, do: Callable[[], object]) -> Callable[[AnyRecord], None]:
    """Calls ``do`` when these samples, counted from 1, have arrived."""
    arrived = 0

    def look(record: AnyRecord) -> None:
        nonlocal arrived
        if isinstance(record, Sample):
            arrived += 1
            if arrived in numbers:
                do()

    return look
