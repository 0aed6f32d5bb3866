"""What of a run has arrived, and what is made to happen when it has."""

from __future__ import annotations

import threading
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


def later(do: Callable[[], object], seconds: float = 0.3) -> None:
    """Calls ``do`` from another thread after a while; :func:`wait_for_timers` is to be called behind the test."""
    threading.Timer(seconds, do).start()


def wait_for_timers() -> None:
    """Fails if a timer outlives the test."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(timeout=5)
            assert not thread.is_alive(), "a timer outlived its test"
