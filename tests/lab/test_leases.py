"""A client's turn with a phone: leases on the agent's side, and who stays for one on the client's."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, cast

import pytest

from harness.core.errors import HarnessError
from harness.devices import DeviceLost
from harness.devices.base import silent
from harness.lab import turn
from harness.lab.client import Absent, Lab, Silence
from harness.lab.errors import PhoneLost
from harness.lab.lease import Ended, Lease
from harness.lab.wire import Polled
from tests.lab.conftest import await_


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(clock: Clock, stopped: list[str] | None = None) -> Lease:
    said: list[str] = [] if stopped is None else stopped
    return Lease("1", "somebody", wait_seconds=10, stop=lambda: said.append("stop"), seconds=20, clock=clock)


def polled(one: Lease, known: str = "held", after: int = 0) -> Polled:
    return asyncio.run(one.poll((known,), after, 0.0))


def test_a_client_that_was_silent_for_too_long_does_not_get_its_lease_back() -> None:
    """As where the agent was stopped, and a question that was under way arrives before anybody has looked."""
    for comes_back in (polled, lambda one: one.call(1, "run", {})):
        clock, stopped = Clock(), list[str]()
        one = lease(clock, stopped)
        clock.now += 21
        comes_back(one)
        assert one.state == "ended"
        assert "not heard of for 20 s" in one.reason


def test_a_lease_ends_when_its_client_is_silent() -> None:
    clock = Clock()
    one = lease(clock)
    clock.now += 19
    assert polled(one, "waiting").state == "waiting"
    clock.now += 19
    assert not one.ended
    clock.now += 2
    assert one.ended
    assert polled(one).reason == "its client was not heard of for 20 s"


class SilentLab:
    """A lab whose phone gives itself to a client, and answers no more until its host is back."""

    def __init__(self) -> None:
        self.frozen, self.looks = threading.Event(), 0

    def scheduler(self, _phone: str) -> str:
        return "a scheduler"

    def ask(self, _phone: str, question: str, *_words: object, **_more: object) -> str:
        self.looks += question == "look"
        if self.frozen.is_set():
            raise Silence("no answer")
        return Polled(state="held").model_dump_json()


def test_nobody_stays_for_the_lease_of_a_phone_that_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its agent may come back, and would hold the phone for a client that has another one."""
    for name in ("STAY_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(turn, name, 0.01)
    monkeypatch.setattr(turn, "LEASE_SECONDS", 0.1)
    lab = SilentLab()
    one = turn.Turn(cast(Lab, lab), "desk/a1", silent, threading.Event())
    one.begin(1.0, 0)
    await_("the client shows that it is there", lambda: lab.looks > 2)
    lab.frozen.set()
    with pytest.raises(PhoneLost):
        one.call(turn.Call.of("run", {}), lambda _event: None)
    lab.frozen.clear()
    await_("nobody stays", lambda: not any(thread.name == "lease of desk/a1" for thread in threading.enumerate()))
    before = lab.looks
    time.sleep(0.1)
    assert lab.looks == before


class RestartedLab:
    """A lab whose scheduler was started again, and that the phone's host finds only after many questions."""

    def __init__(self) -> None:
        self.left, self.id = 40, "a scheduler"

    def scheduler(self, phone: str) -> str:
        if self.id != "a scheduler" and self.left:
            raise Absent(phone, self.id)
        return self.id

    def ask(self, phone: str, question: str, *_words: object, **_more: object) -> str:
        if question == "poll" and self.left:
            self.id, self.left = "another scheduler", self.left - 1
            raise Absent(phone, self.id)
        return Polled(state="held").model_dump_json()


@pytest.mark.parametrize("patience", [60.0, 0.1])
def test_who_waits_for_a_phone_lets_its_host_find_a_new_scheduler(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is held meanwhile, so it may take longer than a lease lasts."""
    monkeypatch.setattr(turn, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(turn, "LEASE_SECONDS", 0.1)
    monkeypatch.setattr(turn, "RETURN_SECONDS", patience)
    one = turn.Turn(cast(Lab, RestartedLab()), "desk/a1", silent, threading.Event())
    if patience < 1:
        with pytest.raises(PhoneLost, match="no answer"):
            one.begin(1.0, 0)
        return
    one.begin(1.0, 0)
    one.end()


def served(one: Lease, methods: dict[str, Any]) -> list[HarnessError]:
    failures: list[HarnessError] = []
    one.serve(methods, failures.append)
    return failures


def test_a_call_that_is_repeated_runs_once_and_its_events_come_in_order() -> None:
    one, ran = lease(Clock()), list[int]()

    def count(arguments: dict[str, Any]) -> str:
        ran.append(arguments["x"])
        one.notice("counting")
        one.record("{}")
        return "counted"

    def enough(_arguments: dict[str, Any]) -> None:
        one.end("enough")

    for number in (1, 1, 2, 1):
        one.call(number, "count" if number == 1 else "enough", {"x": 7})
    assert served(one, {"count": count, "enough": enough}) == []
    assert ran == [7]
    first = polled(one)
    assert [(event.number, event.what, event.call) for event in first.events] == [
        (1, "notice", 1), (2, "record", 1), (3, "done", 1), (4, "done", 2),
    ]  # fmt: skip
    assert [event.number for event in polled(one, after=2).events] == [3, 4]
    assert polled(one, after=4).events == []
    assert polled(one).state == "ended"


def test_errors_of_a_call_are_reported_and_the_lease_goes_on() -> None:
    one = lease(Clock())

    def lose(_arguments: dict[str, Any]) -> None:
        raise DeviceLost("gone", cure="plug it in")

    def stumble(_arguments: dict[str, Any]) -> None:
        raise ZeroDivisionError("of ours")

    for number, method in enumerate(("lose", "stumble", "end"), start=1):
        one.call(number, method, {})
    failures = served(one, {"lose": lose, "stumble": stumble, "end": lambda _arguments: one.end("done")})
    assert [type(error) for error in failures] == [DeviceLost]
    lost, stumbled, _ = polled(one).events
    assert (lost.error, lost.text, lost.cure) == ("DeviceLost", "gone", "plug it in")
    assert stumbled.text == "the agent failed: ZeroDivisionError: of ours"


def test_ending_a_lease_stops_its_order_and_takes_no_more_records() -> None:
    stopped: list[str] = []
    one = lease(Clock(), stopped)

    def run(_arguments: dict[str, Any]) -> None:
        one.end("its client closed it")
        with pytest.raises(Ended):
            one.record("{}")

    one.call(1, "run", {})
    served(one, {"run": run})
    assert stopped == ["stop"]
    one.end("again")
    assert stopped == ["stop"]
    assert polled(one).reason == "its client closed it"


def test_a_large_answer_comes_in_batches() -> None:
    one = lease(Clock())
    for _ in range(6):
        one.record("x" * 2**20)
    sizes, after = [], 0
    while events := polled(one, after=after).events:
        sizes.append(len(events))
        after = events[-1].number
    assert sizes == [4, 2]
