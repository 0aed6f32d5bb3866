"""Hold a client's side of a lease: begin it, make calls in it, and notice when the phone's host is gone."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.devices.base import Notify
from harness.devices.errors import DeviceBusy
from harness.lab.client import Absent, Lab, Silence
from harness.lab.errors import PhoneLost, error_named
from harness.lab.wire import LEASE_SECONDS, Event, Polled

LOOK_SECONDS = 2.0
"""How long an agent keeps a look without news open. A stopped client ends within that time."""
GONE_SECONDS = 5.0
"""A phone that its scheduler lacks for so long is gone. An agent whose connection broke is back sooner."""
RETURN_SECONDS = 60.0
"""How long a waiting client bears that a new scheduler does not have its phone, whose host first has to find it."""
PAUSE_SECONDS = 0.5
STAY_SECONDS = 3.0
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Call:
    """A call of a method of the phone. With ``last`` the phone is given back as soon as it has ended."""

    method: str
    arguments: str
    """As JSON."""
    last: bool = False

    @classmethod
    def of(cls, method: str, arguments: dict[str, Any], *, last: bool = False) -> Call:
        return cls(method, json.dumps(arguments), last)


class Stopped(Exception):
    """The device was stopped while it waited."""


class Turn:
    """Have one phone for a while. Calls come from one thread at a time; :meth:`end` may come from any."""

    def __init__(self, lab: Lab, phone: str, notify: Notify, stopping: threading.Event) -> None:
        self.phone = phone
        self._lab = lab
        self._notify = notify
        self._stopping = stopping
        self._id = uuid.uuid4().hex
        self._owner = f"process {os.getpid()} of {_user()}@{platform.node()}"
        self._scheduler = ""
        self._seen = 0
        self._number = 0
        self._sent: Call | None = None
        """The first call, which went with the question for the phone; its number is 1."""
        self._news: Polled | None = None
        """What came with the phone."""
        self._alive = time.monotonic()
        self._absent: float | None = None
        self._gone = False
        """Whether the phone was lost: then nobody stays for its lease, which its agent may still hold."""
        self._ended = threading.Event()
        self._waiting = True

    def begin(self, wait_seconds: float, priority: int, first: Call | None = None) -> None:
        """Wait for the phone; raises DeviceBusy after ``wait_seconds``, PhoneRefused, PhoneLost or Stopped.

        The phone begins with the ``first`` call as soon as it is ours; :meth:`call` then is to make this one.
        """
        until, reported = time.monotonic() + wait_seconds, False
        called = () if first is None else (1, first.method, first.arguments, first.last)
        asked = ("poll", self._id, self._owner, wait_seconds, priority)
        try:
            while True:
                self._scheduler = self._looked(lambda: self._lab.scheduler(self.phone), raw=True)
                wait = LOOK_SECONDS if wait_seconds > LOOK_SECONDS else 0.2
                polled = self._looked(
                    lambda wait=wait: self._lab.ask(  # type: ignore[misc]
                        self.phone, *asked, self._seen, wait, *called, wait=wait
                    )
                )
                if first is not None and (polled.state == "held" or any(event.call for event in polled.events)):
                    self._number, self._sent, self._news = 1, first, polled
                    self._begin_to_stay()
                    return
                for event in polled.events:
                    self._seen = event.number
                    self._notify(event.text)
                if polled.state == "held":
                    self._begin_to_stay()
                    return
                if polled.state == "ended":
                    raise error_named(polled.error, polled.reason, polled.cure)
                if self._stopping.is_set():
                    raise Stopped
                if time.monotonic() > until:
                    raise DeviceBusy(
                        f"device {self.phone} is still in use by {polled.holder or 'others'} after {wait_seconds:.0f} s"
                    )
                if not reported and polled.holder:
                    self._notify(
                        f"device {self.phone} is in use by {polled.holder}; waiting up to {wait_seconds:.0f} s for it"
                    )
                    reported = True
        except BaseException:
            self.end("its client stopped waiting")
            raise

    def call(self, call: Call, on_event: OnEvent) -> Any:
        """Make a call, and pass on what happens meanwhile. Raises what it raises, PhoneLost, Stopped."""
        asked, news = self._sent == call, self._news
        self._sent, self._news = None, None
        if not asked:
            self._number += 1
        number = self._number
        while True:
            words = ("look", self._id) if asked else ("call", self._id, number, call.method, call.arguments, call.last)
            polled = news or self._looked(
                lambda words=words: self._lab.ask(  # type: ignore[misc]
                    self.phone, *words, self._seen, LOOK_SECONDS, wait=LOOK_SECONDS
                )
            )
            asked, news = True, None
            for event in polled.events:
                if event.number <= self._seen:
                    continue
                if event.number != self._seen + 1:
                    raise self._lost(f"events {self._seen + 1} to {event.number - 1} of its agent are missing")
                self._seen = event.number
                if event.call not in (0, number):
                    continue
                if event.what in ("done", "failed") and call.last:
                    self._ended.set()
                if event.what == "done":
                    return event.value
                if event.what == "failed":
                    raise error_named(event.error, event.text, event.cure)
                on_event(event)
            if self._stopping.is_set():
                raise Stopped
            if polled.state == "unknown":
                raise self._lost("its agent has restarted")
            if polled.state == "ended" and not polled.events:
                raise self._lost(f"its agent took it back: {polled.reason}")

    def end(self, reason: str = "its client gave it back") -> None:
        """Give the phone back; an order in progress ends. From any thread, and again without effect."""
        if self._ended.is_set():
            return
        self._ended.set()
        with contextlib.suppress(Silence, Absent):
            self._lab.ask(self.phone, "end", self._id, reason)

    @property
    def over(self) -> bool:
        """Return whether the phone was given back."""
        return self._ended.is_set()

    def _begin_to_stay(self) -> None:
        self._waiting = False
        threading.Thread(target=self._stay, name=f"lease of {self.phone}", daemon=True).start()

    def _stay(self) -> None:
        """Show the agent between two calls that its client is there; a call does so itself."""
        while not self._ended.wait(STAY_SECONDS):
            if self._gone:
                return
            if time.monotonic() - self._alive < STAY_SECONDS:
                continue
            with contextlib.suppress(Silence, Absent):
                self._lab.ask(self.phone, "look", self._id, 0, 0.0)
                self._alive = time.monotonic()

    def _looked(self, ask: Callable[[], Any], *, raw: bool = False) -> Any:
        """Return an agent's answer; raises PhoneLost once it was silent for longer than its lease lasts."""
        while True:
            try:
                answer = ask()
            except (Silence, Absent) as error:
                self._bear(error)
                continue
            self._alive, self._absent = time.monotonic(), None
            if raw:
                return answer
            try:
                return Polled.model_validate_json(answer)
            except ValidationError as error:
                raise self._lost(f"its agent's answer is none: {error.errors()[0]['msg']}") from error

    def _bear(self, error: Silence | Absent) -> None:
        """Bear one missing answer for a while; raises PhoneLost when it is too long, and Stopped."""
        now = time.monotonic()
        if self._stopping.is_set():
            raise Stopped
        if isinstance(error, Absent) and error.scheduler == (self._scheduler or error.scheduler):
            self._absent = self._absent or now
            if now - self._absent > GONE_SECONDS:
                raise self._lost("its agent has left the lab")
        returning = self._waiting and isinstance(error, Absent) and error.scheduler != self._scheduler
        limit = max(LEASE_SECONDS, RETURN_SECONDS) if returning else LEASE_SECONDS
        if now - self._alive > limit:
            raise self._lost(f"no answer for {limit:.0f} s: {error}")
        self._stopping.wait(PAUSE_SECONDS)

    def _lost(self, why: str) -> PhoneLost:
        self._gone = True
        return PhoneLost(f"{self.phone} was lost: {why}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
