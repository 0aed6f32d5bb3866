"""Use a phone of a lab as a :class:`harness.devices.base.Device`: orders and runners travel to the phone's host."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.core.errors import HarnessError
from harness.core.store import FileStore
from harness.devices.base import (
    DEFAULT_DEADLINE,
    DEFAULT_WAIT,
    AnyRecord,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    silent,
)
from harness.devices.collect import ResultReader
from harness.devices.errors import DeviceLost, RunnerUnusable
from harness.devices.outcome import joined
from harness.devices.remote import SETTLE_SECONDS
from harness.lab.client import Lab
from harness.lab.errors import PhoneLost
from harness.lab.phone_choice import choose_equal
from harness.lab.turn import Call, OnEvent, Stopped, Turn
from harness.lab.wire import Card, Event, RunEnd
from harness.protocol.schema import Probe, Sample, WorkOrder

if TYPE_CHECKING:
    from harness.compiler import CompileRequest
    from harness.core.cache import Cache
    from harness.core.progress import Progress
    from harness.lab.elsewhere import LabCompiler
    from harness.models.options import ModelOptions

CLOSED = "the device was closed"


class LabDevice:
    """Provide ``--device lab:…``. ``bound`` are the phones of this client, so that none replaces another.

    The device keeps the name of the phone that it began with. Where an equal phone continued, the order's ``observed``
    names both, with the number of records of each.
    """

    kind = "lab"

    def __init__(
        self, lab: Lab, card: Card, store: FileStore, *, bound: set[str], priority: int = 0, notify: Notify = silent
    ) -> None:
        self.card = card
        self.name = card.device
        self.target = card.target
        self.companion = card.companion
        self.emulated = card.emulated
        self._first = card
        self._lab, self._store, self._bound, self._priority, self._notify = lab, store, bound, priority, notify
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._held = 0
        self._abandoned = False
        self._opening: Call | None = None
        """The call that the phone begins with."""
        self._turn: Turn | None = None
        self._wait = DEFAULT_WAIT
        self._say: Notify = notify
        self._compiler: LabCompiler | None = None
        self._sent: tuple[tuple[str, int, int, int], str] | None = None
        """The runner that was brought into the store last, and its hash."""
        bound.add(card.name)

    def facts(self) -> dict[str, Any]:
        card = self._first
        there = {"phone": card.name, "host": card.host, "kind": card.kind, "harness": card.harness}
        return {**card.facts, "kind": self.kind, "lab": there}

    def conditions(self) -> dict[str, Any]:
        """Return the phone's conditions; see the protocol. If it cannot be asked, ``unavailable`` is the reason."""
        try:
            found = self._called("conditions", {})
        except HarnessError as error:
            return {"unavailable": str(error.args[0])}
        return found if isinstance(found, dict) else {"unavailable": "the agent's answer is none"}

    @contextlib.contextmanager
    def reserve(self, *, wait_seconds: float = DEFAULT_WAIT, notify: Notify = silent) -> Iterator[None]:
        with self._lock:
            if self._held == 0:
                self._wait, self._say = wait_seconds, notify if notify is not silent else self._notify
            self._held += 1
            try:
                self._begun()
                yield
            finally:
                self._held -= 1
                if self._held == 0:
                    self._abandoned = False
                    self._give_back()

    def settle(self, *, wait_seconds: float = SETTLE_SECONDS, notify: Notify = silent) -> None:
        def say(event: Event) -> None:
            if event.what == "notice":
                notify(event.text)

        self._called("settle", {"wait_seconds": wait_seconds}, say)

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        def push(event: Event) -> None:
            if event.what == "push" and on_push is not None:
                on_push(event.done, event.total)

        return str(self._called("deploy", self._runner(runner), push))

    def describe(self, runner: Path, *, deadline: float = 60.0) -> RunnerDescription:
        found = self._called("describe", {**self._runner(runner), "deadline": deadline})
        try:
            return RunnerDescription.model_validate(found)
        except ValidationError as error:
            raise RunnerUnusable(f"the agent's description is none: {error.errors()[0]['msg']}") from error

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        """Run an order; see the protocol. ``workdir`` is a folder of this machine, and the phone's host has its own."""
        del workdir
        began = time.monotonic()
        arguments = self._runner(runner)
        shares: list[dict[str, Any]] = []
        before: tuple[AnyRecord, ...] = ()
        told = {**arguments, "order": self._order(order, before), "deadline": deadline}
        with self._reserved_for("run", told):
            while True:
                reader = ResultReader(None, order, on_record, before=before)
                if before:
                    left = max(1.0, deadline - (time.monotonic() - began))
                    told = {**arguments, "order": self._order(order, before), "deadline": left}
                end, reason = self._ran(reader, told)
                shares.append({"phone": self.card.name, "records": len(reader.fresh)})
                lost = end is None and reason != CLOSED and reader.fault is None and reader.end is None
                if not lost or time.monotonic() - began > deadline:
                    break
                try:
                    self._move(str(reason))
                except HarnessError as error:
                    reason = joined(reason, str(error.args[0]))
                    break
                before = tuple(reader.records)
        return _result(order, reader, end, reason, shares, time.monotonic() - began)

    def compile_elsewhere(
        self, options: ModelOptions, request: CompileRequest, variant: str, *, cache: Cache, progress: Progress
    ) -> None:
        """Have the lab compile what no cache has; see :class:`harness.run.builder.CompilesElsewhere`."""
        from harness.lab.elsewhere import LabCompiler

        if self._compiler is None:
            self._compiler = LabCompiler(self._lab, priority=self._priority, notify=self._notify)
        self._compiler.compile(options, request, variant, cache=cache, progress=progress)

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
        """Give the phone back, from any thread."""
        self.stop()
        if (turn := self._turn) is not None:
            turn.end("its client closed it")
        self._bound.discard(self.card.name)

    def _ran(self, reader: ResultReader, arguments: dict[str, Any]) -> tuple[RunEnd | None, str | None]:
        """Run an order on the phone that is held; return its end, or why there is none."""

        def take(event: Event) -> None:
            if event.what == "record":
                reader.feed(event.text.encode() + b"\n")
                if reader.fault:
                    raise _BadRecord
            elif event.what == "notice":
                self._say(event.text)

        try:
            turn = self._begun()
            return RunEnd.model_validate(turn.call(self._call("run", arguments), take)), None
        except PhoneLost as error:
            self._turn = None
            return None, str(error.args[0])
        except Stopped:
            self._give_back()
            return None, CLOSED
        except _BadRecord:
            self._give_back()
            return None, reader.fault
        except ValidationError as error:
            return None, f"the agent's result is none: {error.errors()[0]['msg']}"
        except HarnessError:
            raise
        except BaseException as error:
            self._abandon(error)
            raise

    def _called(self, method: str, arguments: dict[str, Any], on_event: OnEvent | None = None) -> Any:
        """Call a method of the phone, on an equal one if the phone is lost; raises what it raises, and DeviceLost."""

        def hear(event: Event) -> None:
            if on_event is not None:
                on_event(event)
            elif event.what == "notice":
                self._say(event.text)

        with self._reserved_for(method, arguments):
            try:
                while True:
                    turn = self._begun()
                    with self._moving():
                        return turn.call(self._call(method, arguments), hear)
            except Stopped:
                self._give_back()
                raise DeviceLost(f"{self.name}: {CLOSED}") from None
            except HarnessError:
                raise
            except BaseException as error:
                self._abandon(error)
                raise

    @contextlib.contextmanager
    def _reserved_for(self, method: str, arguments: dict[str, Any]) -> Iterator[None]:
        """Reserve the phone for one call, which is sent along if the phone is not ours yet."""
        with self._lock:
            if self._held == 0:
                self._opening = Call.of(method, arguments, last=True)
            try:
                with self.reserve():
                    self._opening = None
                    yield
            finally:
                self._opening = None

    def _call(self, method: str, arguments: dict[str, Any]) -> Call:
        """Return a call; nobody needs the phone behind it unless somebody else has reserved it."""
        return Call.of(method, arguments, last=self._held == 1)

    def _begun(self) -> Turn:
        """Return the turn with the phone; wait for one if there is none, or if it ended."""
        while self._turn is None or self._turn.over:
            if self._stopping.is_set() or self._abandoned:
                raise DeviceLost(f"{self.name}: {CLOSED}")
            turn = Turn(self._lab, self.card.name, self._say, self._stopping)
            with self._moving():
                try:
                    turn.begin(self._wait, self._priority, self._opening)
                except Stopped:
                    raise DeviceLost(f"{self.name}: {CLOSED}") from None
                self._turn = turn
        return self._turn

    @contextlib.contextmanager
    def _moving(self) -> Iterator[None]:
        """Continue with an equal phone if this one is lost in the context."""
        try:
            yield
        except PhoneLost as error:
            self._turn = None
            self._move(str(error.args[0]))

    def _abandon(self, error: BaseException) -> None:
        """Give the phone back, since nobody follows its order any more. After Ctrl-C it is not asked for again."""
        self._abandoned = not isinstance(error, Exception)
        self._give_back()

    def _give_back(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()

    def _move(self, why: str) -> None:
        """Continue with an equal phone; raises PhoneLost if there is none."""
        lost = self.card
        equal = choose_equal(self._lab.cards(), lost, self._bound)
        if equal is None:
            raise PhoneLost(f"{why}; no equal phone is left in the lab")
        self._notify(f"{why}; continuing with {equal.name}")
        self._bound.discard(lost.name)
        self._bound.add(equal.name)
        self.card = equal
        self._turn = None

    def _runner(self, runner: Path) -> dict[str, Any]:
        """Bring a runner into the store; return its hash, which is made again only if the file is another."""
        try:
            found = runner.stat()
            state = (str(runner), found.st_ino, found.st_size, found.st_mtime_ns)
            if self._sent is None or self._sent[0] != state:
                self._sent = (state, self._store.put(runner))
            return {"runner": self._sent[1], "suffix": runner.suffix}
        except OSError as error:
            raise RunnerUnusable(f"the runner {runner} cannot be read: {error.strerror}") from error

    def _order(self, order: WorkOrder, before: tuple[AnyRecord, ...]) -> str:
        """Bring an order into the store, without what has arrived; return its hash."""
        skipped = {
            "skip_samples": sum(isinstance(record, Sample) for record in before),
            "skip_probes": sum(isinstance(record, Probe) for record in before),
        }
        text = order.model_copy(update=skipped if before else {}).model_dump_json()
        return self._store.put_bytes(text.encode(), "an order")


class _BadRecord(Exception):
    """A record broke the protocol; the reader holds the reason."""


def _result(
    order: WorkOrder,
    reader: ResultReader,
    end: RunEnd | None,
    reason: str | None,
    shares: list[dict[str, Any]],
    wall: float,
) -> RunResult:
    """Return the result by what arrived here. The agent's verdict is believed where it finds more fault than we do."""
    missing = reader.missing()
    resumed = len(shares) - 1
    if end is not None and (missing or not end.complete):
        # Of an order that another phone began, its agent only saw the end: what is here decides.
        whole = resumed and missing is None and end.exit_status == 0
        reason = None if whole else (end.reason or missing)
    elif end is None:
        reason = joined(reason, missing)
    return RunResult(
        order_id=order.order_id,
        records=tuple(reader.records),
        complete=end is not None and reason is None,
        reason=reason,
        failure=reader.end.error if reader.end is not None else None,
        exit_status=end.exit_status if end is not None else None,
        wall_seconds=wall,
        knobs=tuple(end.knobs) if end is not None else (),
        observed={**(end.observed if end is not None else {}), "lab": shares},
        resumed=resumed + (end.resumed if end is not None else 0),
    )
