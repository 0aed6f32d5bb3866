"""Give one client a phone for a while: take its calls, report what happens, and end when the client is gone.

A lease lives in the agent's process and not in Dask's scheduler, so that a scheduler that is killed and started again
ends no order. The client looks every few seconds (:meth:`Lease.poll`), which is also its sign of life.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Literal

from harness.core.errors import HarnessError
from harness.lab.wire import LEASE_SECONDS, Event, Polled, Work

MOST_BATCH_BYTES = 4 * 2**20
"""One answer to a client holds about so many bytes, and at least one event."""
LOOK_SECONDS = 0.5
"""How often a lease without calls looks whether its client is gone."""
GATHER_SECONDS = 0.05
"""How long records are gathered for one answer."""
_PUSH_SECONDS = 0.2
"""The least time between two reports of how much was pushed to a phone."""
_ENDS = ("done", "failed")
Method = Callable[[dict[str, Any]], Any]


class Ended(Exception):
    """The lease was ended while its client's call ran."""


class Lease:
    """Hold one client's turn with a phone. ``stop`` makes an order in progress end soon, from any thread."""

    def __init__(
        self,
        lease: str,
        owner: str,
        *,
        wait_seconds: float,
        stop: Callable[[], None],
        priority: int = 0,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = lease
        self.owner = owner
        self.wait_seconds = wait_seconds
        self.priority = priority
        self._stop = stop
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._state: Literal["waiting", "held", "ended"] = "waiting"
        self._reason = self._error = self._cure = ""
        self._heard = self._asked = self._held = clock()
        self._records = 0
        self._doing = ""
        self._number = 0
        self._events: deque[Event] = deque()
        self._calls: queue.SimpleQueue[tuple[int, str, dict[str, Any], bool] | None] = queue.SimpleQueue()
        self._called = 0
        self._running = 0
        self._pushed = 0.0
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def state(self) -> str:
        return self._state

    @property
    def reason(self) -> str:
        """Return why it ended."""
        return self._reason

    @property
    def ended(self) -> bool:
        """Return whether it has ended; a client that was not heard of for too long ends it now."""
        self.expire()
        return self._state == "ended"

    @property
    def waited(self) -> float:
        """Return the seconds since its client asked for the phone."""
        return self._clock() - self._asked

    @property
    def work(self) -> Work:
        """Return what its client does with the phone."""
        return Work(seconds=max(0.0, self._clock() - self._held), doing=self._doing, records=self._records)

    def expire(self) -> None:
        """End the lease if its client was not heard of for too long."""
        with self._lock:
            silent = self._clock() - self._heard > self._seconds
        if silent:
            self.end(f"its client was not heard of for {self._seconds:.0f} s")

    def call(self, number: int, method: str, arguments: dict[str, Any], *, last: bool = False) -> None:
        """Queue a call; with ``last`` the lease ends after it.

        One that was queued before is not queued again, since a client repeats what got lost.
        """
        self.expire()
        with self._lock:
            self._heard = self._clock()
            if self._state == "ended" or number <= self._called:
                return
            self._called = number
        self._calls.put((number, method, arguments, last))

    async def poll(self, known: Collection[str], after: int, wait: float) -> Polled:
        """Return the events behind number ``after`` as soon as there are some or the state is none of the ``known``.

        Returns at the latest after ``wait`` seconds, and forgets the events up to ``after``. A client that was not
        heard of for too long has lost the lease, also if nobody has noticed it yet, as where the agent was stopped.
        """
        self.expire()
        woken = asyncio.Event()
        waiter = (asyncio.get_running_loop(), woken)
        until = self._clock() + wait
        with self._lock:
            self._waiters.append(waiter)
        try:
            while True:
                with self._lock:
                    self._heard = self._clock()
                    while self._events and self._events[0].number <= after:
                        self._events.popleft()
                    pressing = self._state not in known or any(event.what in _ENDS for event in self._events)
                    left = until - self._clock()
                    if pressing or left <= 0 or (self._events and left < wait - GATHER_SECONDS):
                        return Polled(
                            state=self._state,
                            reason=self._reason,
                            error=self._error,
                            cure=self._cure,
                            events=self._batch(),
                        )
                    gathering = bool(self._events)
                    woken.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    # Records come in dozens, and a call for each would cost more than they do.
                    await asyncio.wait_for(woken.wait(), GATHER_SECONDS if gathering else left)
        finally:
            with self._lock:
                self._waiters.remove(waiter)

    def end(self, reason: str, error: HarnessError | None = None) -> None:
        """End the lease, and an order in progress; from any thread, and again without effect."""
        with self._lock:
            if self._state == "ended":
                return
            self._state, self._reason = "ended", reason
            if error is not None:
                self._error, self._cure = type(error).__name__, error.cure
            self._wake()
            running = self._running
        self._calls.put(None)
        if running:
            self._stop()

    def notice(self, text: str) -> None:
        """Report a line for the person who waits."""
        self._add(what="notice", text=text)

    def record(self, line: str) -> None:
        """Report a record; raises Ended if nobody wants it any more."""
        if self.ended:
            raise Ended(self._reason)
        self._records += 1
        self._add(what="record", text=line)

    def push(self, done: int, total: int) -> None:
        """Report how much of a runner was pushed, not more often than a person can see."""
        now = self._clock()
        if done >= total or now - self._pushed > _PUSH_SECONDS:
            self._pushed = now
            self._add(what="push", done=done, total=total)

    def serve(self, methods: dict[str, Method], failed: Callable[[HarnessError], None]) -> None:
        """Answer the client's calls until the lease ends. ``failed`` gets the errors of calls."""
        with self._lock:
            if self._state != "ended":
                self._state, self._held = "held", self._clock()
            self._wake()
        while not self.ended:
            try:
                call = self._calls.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if call is None:
                break
            number, method, arguments, last = call
            self._answer(number, method, arguments, methods, failed)
            if last:
                self.end("its client gave it back")

    def _answer(
        self,
        number: int,
        method: str,
        arguments: dict[str, Any],
        methods: dict[str, Method],
        failed: Callable[[HarnessError], None],
    ) -> None:
        with self._lock:
            if self._state == "ended":
                return
            self._running, self._doing = number, method if method in methods else ""
        try:
            value = methods[method](arguments)
        except Ended:
            pass
        except HarnessError as error:
            failed(error)
            self._add(what="failed", text=str(error.args[0]), error=type(error).__name__, cure=error.cure)
        except Exception as error:  # a fault of ours must not end the agent, and the client has to hear of it
            self._add(what="failed", text=f"the agent failed: {type(error).__name__}: {error}", error="DeviceError")
        else:
            self._add(what="done", value=value)
        finally:
            with self._lock:
                self._running, self._doing = 0, ""

    def _add(self, **fields: Any) -> None:
        with self._lock:
            self._number += 1
            self._events.append(Event(number=self._number, call=self._running, **fields))
            self._wake()

    def _wake(self) -> None:
        """Wake who waits for news. The lock is held."""
        for loop, woken in self._waiters:
            # Its agent may be ending.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(woken.set)

    def _batch(self) -> list[Event]:
        found: list[Event] = []
        size = 0
        for event in self._events:
            size += len(event.text)
            if found and size > MOST_BATCH_BYTES:
                break
            found.append(event)
        return found
