"""What devices at the other end of a cable have in common: they are held, waited for, and let go of."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from harness.core.errors import HarnessError
from harness.devices.base import DEFAULT_WAIT, Notify, silent
from harness.devices.errors import DeviceNotReady
from harness.devices.lock import DeviceLock

SETTLE_SECONDS = 180.0
CLOSE_SECONDS = 30.0


class RemoteDevice(ABC):
    """Part of a :class:`harness.devices.base.Device`; a subclass opens it, and sets ``name``.

    ``settle_poll_seconds`` is how often one that is too hot or too empty is looked at.
    """

    name: str

    def __init__(self, lock: DeviceLock, *, settle_poll_seconds: float) -> None:
        self._lock = lock
        self._settle_poll_seconds = settle_poll_seconds
        self._closing = threading.Event()
        self._idle = threading.Condition()
        self._runs = 0

    @abstractmethod
    def _conditions(self) -> dict[str, Any]:
        """What changes from run to run; raises HarnessError if the device cannot be asked."""

    @abstractmethod
    def _unfit(self, conditions: dict[str, Any]) -> str | None:
        """Why a device in these conditions should not be measured yet, or None."""

    def conditions(self) -> dict[str, Any]:
        """See the protocol; of a device that cannot be asked, ``unavailable`` says why."""
        try:
            return self._conditions()
        except HarnessError as error:
            return {"unavailable": str(error.args[0])}

    def reserve(self, *, wait_seconds: float = DEFAULT_WAIT, notify: Notify = silent) -> AbstractContextManager[None]:
        return self._lock.hold(wait_seconds=wait_seconds, notify=notify)

    def settle(self, *, wait_seconds: float = SETTLE_SECONDS, notify: Notify = silent) -> None:
        until = time.monotonic() + wait_seconds
        told: str | None = None
        while why := self._unfit(self._conditions()):
            left = until - time.monotonic()
            if left <= 0 or self._closing.is_set():
                raise DeviceNotReady(f"{self.name} is not fit to be measured after {wait_seconds:.0f} s: {why}")
            if why != told:
                notify(f"waiting up to {left:.0f} s for {self.name}: {why}")
                told = why
            self._closing.wait(min(self._settle_poll_seconds, left))
        if told:
            notify(f"{self.name} is fit to be measured")

    def stop(self) -> None:
        """See the protocol."""
        self._closing.set()

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """What :meth:`_stopped` waits for."""
        with self._idle:
            self._runs += 1
        try:
            yield
        finally:
            with self._idle:
                self._runs -= 1
                self._idle.notify_all()

    def _stopped(self) -> bool:
        """Stop, from whatever thread; whether what was running has ended."""
        self.stop()
        with self._idle:
            return self._idle.wait_for(lambda: self._runs == 0, timeout=CLOSE_SECONDS)
