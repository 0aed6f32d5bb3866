"""Implement what devices at the end of a cable have in common: holding, waiting and closing."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from harness.core.errors import HarnessError
from harness.devices.base import DEFAULT_WAIT, Knob, Notify, OnRecord, silent
from harness.devices.errors import DeviceNotReady
from harness.devices.job import Terms
from harness.devices.lock import DeviceLock

SETTLE_SECONDS = 180.0
CLOSE_SECONDS = 30.0


class RemoteDevice(ABC):
    """Implement a part of :class:`harness.devices.base.Device`; a subclass opens it, and sets its attributes.

    ``notify`` gets messages outside of calls that take their own. ``grace_seconds`` is how long a lost device may take
    to come back. ``settle_poll_seconds`` is the time between looks at one that is too hot or too empty.
    """

    name: str
    kind: str
    emulated: bool

    def __init__(self, lock: DeviceLock, *, notify: Notify, grace_seconds: float, settle_poll_seconds: float) -> None:
        self._lock = lock
        self._notify = notify
        self._grace_seconds = grace_seconds
        self._settle_poll_seconds = settle_poll_seconds
        self._closing = threading.Event()
        self._idle = threading.Condition()
        self._runs = 0

    @abstractmethod
    def _conditions(self) -> dict[str, Any]:
        """Return what changes from run to run; raises HarnessError if the device cannot be asked."""

    @abstractmethod
    def _unfit(self, conditions: dict[str, Any]) -> str | None:
        """Return why a device in these conditions should not be measured yet, or None."""

    def conditions(self) -> dict[str, Any]:
        """Return the conditions; see the protocol. If the device cannot be asked, ``unavailable`` is the reason."""
        try:
            return self._conditions()
        except HarnessError as error:
            return {"unavailable": str(error.args[0])}

    def reserve(self, *, wait_seconds: float = DEFAULT_WAIT, notify: Notify = silent) -> AbstractContextManager[None]:
        return self._lock.hold(wait_seconds=wait_seconds, notify=notify)

    def settle(self, *, wait_seconds: float = SETTLE_SECONDS, notify: Notify = silent) -> None:
        until = time.monotonic() + wait_seconds
        reported: str | None = None
        while why := self._unfit(self._conditions()):
            left = until - time.monotonic()
            if left <= 0 or self._closing.is_set():
                raise DeviceNotReady(f"{self.name} is not fit to be measured after {wait_seconds:.0f} s: {why}")
            if why != reported:
                notify(f"waiting up to {left:.0f} s for {self.name}: {why}")
                reported = why
            self._closing.wait(min(self._settle_poll_seconds, left))
        if reported:
            notify(f"{self.name} is fit to be measured")

    def _lasting(self, serial: str) -> dict[str, Any]:
        """Return the facts that every kind has."""
        return {"kind": self.kind, "name": self.name, "emulated": self.emulated, "serial": serial}

    def _terms(self, deadline: float, on_record: OnRecord | None, again: Callable[[], None]) -> Terms:
        """Return how an order is run here; see :class:`Terms`."""
        return Terms(deadline, self._grace_seconds, self._notify, self._closing.is_set, on_record, again)

    def _report_denied(self, knobs: Iterable[Knob], advice: str = "") -> None:
        """Report each setting that the device refused."""
        for knob in knobs:
            if knob.state == "denied":
                self._notify(f"{self.name} refused {knob.name}: {knob.detail}{f'; {advice}' if advice else ''}")

    def stop(self) -> None:
        """Stop a run in progress; see the protocol."""
        self._closing.set()

    def rearm(self) -> None:
        """Let orders run again; see :class:`harness.devices.base.Rearms`."""
        self._closing.clear()

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Mark a call as running; :meth:`_stopped` waits for its end."""
        with self._idle:
            self._runs += 1
        try:
            yield
        finally:
            with self._idle:
                self._runs -= 1
                self._idle.notify_all()

    def _stopped(self) -> bool:
        """Stop, from any thread; return whether everything that ran has ended."""
        self.stop()
        with self._idle:
            return self._idle.wait_for(lambda: self._runs == 0, timeout=CLOSE_SECONDS)


def merge_again(knobs: list[Knob], second: Iterable[Knob]) -> None:
    """Correct ``knobs`` by their outcome after a loss: a knob that is not applied then was not applied all the time."""
    now = {knob.name: knob for knob in second}
    for at, knob in enumerate(knobs):
        again = now.get(knob.name, knob)
        if knob.state == "applied" and again.state != "applied":
            detail = f"{knob.detail}; after the device had been lost: {again.detail}"
            knobs[at] = knob.model_copy(update={"state": again.state, "detail": detail})
