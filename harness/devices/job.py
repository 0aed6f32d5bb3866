"""Run one order on a device that may be lost: start, collect, and continue once if the device came back."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from harness.core.errors import HarnessError
from harness.devices.base import AnyRecord, Notify, OnRecord
from harness.devices.outcome import Outcome
from harness.protocol.schema import Probe, Sample, WorkOrder

PAUSE_SECONDS = 0.25
"""The seconds between two looks for a device that was lost."""


class ListenerFailed(Exception):
    """``on_record`` raised an error, kept as ``cause``; the device was not lost."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True)
class Terms:
    """Define how an order is run, the same for every kind of device.

    ``on_record`` gets every record once, as early as possible. ``again`` is called before the order continues, as a
    device that came back may have been restarted. ``grace`` is how many seconds a lost one may take to come back.
    """

    deadline: float
    grace: float
    notify: Notify
    closing: Callable[[], bool]
    on_record: OnRecord | None
    again: Callable[[], None]


_Outcome = TypeVar("_Outcome", bound=Outcome)


class Job(ABC, Generic[_Outcome]):
    """Run ``order`` on the device that people call ``label``; a subclass starts the processes."""

    def __init__(self, label: str, order: WorkOrder, terms: Terms) -> None:
        self._label = label
        self._order = order
        self._terms = terms
        self._until = time.monotonic() + terms.deadline
        self._back = True
        """True if the device can be reached, as far as is known."""

    def run(self) -> _Outcome:
        """Return the outcome; raises what starting the first process raises, and what ``on_record`` raises."""
        try:
            return self._run()
        except ListenerFailed as failed:
            raise failed.cause from None

    @abstractmethod
    def _process(self, number: int, before: Sequence[AnyRecord]) -> _Outcome:
        """Run the first or the second process, after these records; raises only before the process was started."""

    @abstractmethod
    def _look(self) -> None:
        """Ask the lost device for an answer; raises HarnessError while there is none."""

    def _run(self) -> _Outcome:
        first = self._process(1, ())
        whole = first.reader.end is not None or first.reader.fault is not None
        if first.lost is None or first.trouble is not None or whole or not self._may_go_on():
            return first
        before = tuple(first.reader.records)
        self._terms.notify(f"continuing with {self._label} after {len(before)} records")
        try:
            self._terms.again()
            second = self._process(2, before)
        except HarnessError as error:
            return replace(first, lost=f"{first.lost}; and again: {error.args[0]}")
        lost = f"lost a second time: {second.lost}" if second.lost else None
        return replace(second, lost=lost, resumed=1)

    def _may_go_on(self) -> bool:
        return not self._terms.closing() and self._back and time.monotonic() < self._until

    def _text(self, before: Sequence[AnyRecord]) -> bytes:
        """Return the order for a runner that continues after these records."""
        skipped = {
            "skip_samples": sum(isinstance(record, Sample) for record in before),
            "skip_probes": sum(isinstance(record, Probe) for record in before),
        }
        return self._order.model_copy(update=skipped).model_dump_json().encode()

    def _take(self, record: AnyRecord) -> None:
        """Pass a record to ``on_record``."""
        if self._terms.on_record is not None:
            try:
                self._terms.on_record(record)
            except Exception as error:
                raise ListenerFailed(error) from error

    def _wait(self, why: str) -> None:
        """Wait for the lost device; afterwards ``_back`` is true if it came back."""
        self._terms.notify(f"{why}; waiting up to {self._terms.grace:.0f} s for it to come back")
        self._back = wait_back(self._look, self._terms.grace, self._terms.closing) is None

    def _overdue(self) -> str | None:
        """Return why a runner without a fault has to be ended, or None."""
        if time.monotonic() > self._until:
            return f"still running after the deadline of {self._terms.deadline:g} s, killed"
        return "the device was closed" if self._terms.closing() else None


def wait_back(look: Callable[[], None], seconds: float, closing: Callable[[], bool]) -> HarnessError | None:
    """Return None once ``look`` finds the device again; its last error after ``seconds`` without, or when closing."""
    until = time.monotonic() + seconds
    while True:
        try:
            look()
            return None
        except HarnessError as error:
            if time.monotonic() > until or closing():
                return error
        time.sleep(PAUSE_SECONDS)
