"""Run one order on one iPhone: its processes are followed by their result file."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.errors import HarnessError
from harness.devices.base import AnyRecord
from harness.devices.collect import MAX_RESULT_BYTES, ResultReader
from harness.devices.ios.bundle import Package
from harness.devices.ios.crashes import Crash, find_crash
from harness.devices.ios.files import Tail, place_order
from harness.devices.ios.launchers import Ended, Launcher, Started, launch_refused
from harness.devices.ios.link import Link
from harness.devices.ios.options import IosOptions
from harness.devices.ios.phone import Phone
from harness.devices.job import Job, Terms
from harness.devices.outcome import Outcome, joined
from harness.devices.wording import ending_of
from harness.protocol.schema import WorkOrder

ASK_SECONDS = 15.0
LAUNCH_SECONDS = 60.0
KILL_SECONDS = 15.0
SERIOUS = ("serious", "critical")
"""The states of NSProcessInfo.thermalState at which iOS slows the processor markedly."""


@dataclass(frozen=True)
class AppOutcome(Outcome):
    """Hold the outcome of an order, and the app's crash if it crashed."""

    crash: Crash | None = None


class _Arrived:
    """Hold the bytes of a result file as far as they were read, so that reading can continue after a loss."""

    def __init__(self, reader: ResultReader) -> None:
        self.reader = reader
        self.count = 0
        self._hash = hashlib.sha256()

    def take(self, data: bytes) -> None:
        self.count += len(data)
        self._hash.update(data)
        self.reader.feed(data)

    def continue_from(self, whole: bytes) -> bool:
        """Take what ``whole`` has beyond the bytes read so far; return False if it does not begin with those."""
        if hashlib.sha256(whole[: self.count]).digest() != self._hash.digest():
            return False
        self.take(whole[self.count :])
        return True


class AppJob(Job[AppOutcome]):
    """Run the order in the installed app."""

    def __init__(
        self,
        phone: Phone,
        launcher: Launcher,
        package: Package,
        order: WorkOrder,
        terms: Terms,
        *,
        options: IosOptions,
        tunnelled: bool,
    ) -> None:
        super().__init__(phone.label, order, terms)
        self._phone = phone
        self._launcher = launcher
        self._bundle_id = package.bundle_id
        self._executable = package.executable
        self._options = options
        self._tunnelled = tunnelled

    def _look(self) -> None:
        self._phone.look(tunnel=self._tunnelled)

    def _process(self, _number: int, before: Sequence[AnyRecord]) -> AppOutcome:
        text = self._text(before)
        self._phone.do(
            lambda link: place_order(link, self._bundle_id, text), deadline=ASK_SECONDS, what="sending the order"
        )
        began = time.time()
        app = self._start()
        arrived = _Arrived(ResultReader(None, self._order, self._take, before=before))
        try:
            outcome = self._follow(app, arrived)
        finally:
            self._end(app)
        if outcome.lost is not None:
            outcome = self._recover(app, outcome, arrived)
        if outcome.ended and arrived.reader.end is None and (outcome.status is None or outcome.status < 0):
            outcome = replace(outcome, crash=self._crash(app, began))
        return outcome

    def _start(self) -> Started:
        try:
            return self._phone.do(
                lambda link: self._launcher.launch(link, self._bundle_id, []),
                deadline=LAUNCH_SECONDS,
                what="launching the app",
            )
        except HarnessError as error:
            known = launch_refused(error, self._phone.label)
            raise known from (None if known is error else error)

    def _follow(self, app: Started, arrived: _Arrived) -> AppOutcome:
        """Read the result as it grows until the app has ended, has to be ended, or is lost."""
        tail: Tail | None = None
        reader = arrived.reader
        written: float | None = None
        try:
            while True:
                # The end is asked for first, so that everything written before it is read after it.
                ended = app.ended
                try:
                    tail = tail or self._tail()
                    more = self._drain(tail, arrived)
                except HarnessError as error:
                    return AppOutcome(reader, lost=str(error.args[0]), log=_log(app))
                if ended is not None and ended.lost is None:
                    return AppOutcome(reader, ended=True, status=ended.status, stopped=reader.fault, log=_log(app))
                if ended is not None and reader.end is None:
                    return AppOutcome(reader, lost=self._lost_app(ended), log=_log(app))
                if reader.end is not None:
                    written = written or time.monotonic()
                    if ended is not None or time.monotonic() > written + self._options.exit_seconds:
                        return AppOutcome(reader, log=_log(app))
                elif stopped := self._stop(app, arrived):
                    return AppOutcome(reader, stopped=stopped, log=_log(app))
                if not more:
                    time.sleep(self._options.poll_seconds)
        finally:
            if tail is not None:
                self._quietly(tail.close)

    def _lost_app(self, ended: Ended) -> str:
        way = "its tunnel" if self._tunnelled else "its process control"
        return f"{self._phone.label} was lost while the app ran: {way} broke ({ended.lost})"

    def _tail(self) -> Tail:
        async def make(link: Link) -> Tail:
            return Tail(link, self._bundle_id)

        return self._phone.do(make, deadline=ASK_SECONDS, what="opening the result")

    def _drain(self, tail: Tail, arrived: _Arrived) -> bool:
        """Take the available bytes; return whether there were any."""
        data = self._phone.do(lambda _link: tail.read(), deadline=ASK_SECONDS, what="the app ran")
        more = bool(data)
        while data and arrived.reader.fault is None:
            arrived.take(data)
            data = self._phone.do(lambda _link: tail.read(), deadline=ASK_SECONDS, what="the app ran")
        return more

    def _stop(self, app: Started, arrived: _Arrived) -> str | None:
        reader = arrived.reader
        if reader.fault:
            return reader.fault
        state = next((getattr(r, "state", "") for r in reversed(reader.fresh) if r.record == "thermal"), "")
        if state in SERIOUS:
            return f"the phone's thermal state rose to {state}, stopped"
        # Records are printed too, but they are no noise.
        if app.printed - arrived.count > self._options.max_log_bytes:
            return f"more than {self._options.max_log_bytes} bytes printed, killed"
        return self._overdue()

    def _end(self, app: Started) -> None:
        """End all processes on the phone if it can be reached; else the next launch does."""
        if app.ended is None:
            self._quietly(app.kill)
        self._quietly(app.close)

    def _quietly(self, ask: Callable[[], object]) -> None:
        async def do(_link: Link) -> None:
            await ask()  # type: ignore[misc]

        with contextlib.suppress(HarnessError):
            self._phone.do(do, deadline=KILL_SECONDS, what="ending the app")

    def _recover(self, app: Started, outcome: AppOutcome, arrived: _Arrived) -> AppOutcome:
        """Wait for the phone, end what still runs there, and read on in the result."""
        with contextlib.suppress(HarnessError):
            self._phone.drop_tunnel()
        self._wait(str(outcome.lost))
        if self._back and (pid := app.pid) is not None:
            with contextlib.suppress(HarnessError):
                self._phone.do(lambda link: self._launcher.end(link, pid), deadline=KILL_SECONDS, what="ending the app")
        try:
            # Without its tunnel the phone starts nothing, but it still gives files.
            whole = self._pull()
        except HarnessError as lost:
            if not self._back:
                return outcome
            outcome = replace(outcome, trouble=f"the result could not be pulled: {lost.args[0]}")
            self._wait(str(lost.args[0]))
            if not self._back:
                return outcome
            try:
                whole = self._pull()
            except HarnessError:
                return outcome
        # A phone without power loses what its file system had not written yet; what was read is kept.
        arrived.continue_from(whole)
        return replace(outcome, trouble=None)

    def _pull(self) -> bytes:
        """Return the whole result file as it is now, up to the largest allowed size."""
        tail, parts, size = self._tail(), [], 0
        try:
            while size <= MAX_RESULT_BYTES:
                data = self._phone.do(lambda _link: tail.read(), deadline=ASK_SECONDS, what="pulling the result")
                if not data:
                    break
                parts.append(data)
                size += len(data)
        finally:
            self._quietly(tail.close)
        return b"".join(parts)

    def _crash(self, app: Started, began: float) -> Crash | None:
        seconds = self._options.crash_seconds
        with contextlib.suppress(HarnessError):
            return self._phone.do(
                lambda link: find_crash(link, self._executable, app.pid, began, seconds),
                deadline=seconds + ASK_SECONDS,
                what="looking for a crash report",
            )
        return None


def _log(app: Started) -> str:
    lines = app.tail.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(('{"record":', '"'))).strip()


def app_reason(outcome: AppOutcome) -> str | None:
    """Return why a result is incomplete, or None. The end record decides, not an exit status."""
    if outcome.stopped:
        return outcome.stopped
    missing = outcome.reader.missing()
    if missing is None:
        return None
    if outcome.lost:
        return joined(outcome.lost, outcome.trouble, missing)
    if outcome.crash is not None:
        return joined(f"the app crashed: {outcome.crash.summary}", missing)
    if not outcome.ended or outcome.reader.end is not None:
        return missing
    if outcome.status is None:
        return joined("the app ended without a crash report", missing)
    return joined(f"the app {ending_of(outcome.status)}", missing)


def observed(outcome: AppOutcome, launcher: str) -> dict[str, Any]:
    """Return the observations of the phone while the app ran."""
    states = [getattr(record, "state", None) for record in outcome.reader.records if record.record == "thermal"]
    return {
        "launcher": launcher,
        "thermal_states": states or None,
        "crash": outcome.crash.report if outcome.crash is not None else None,
    }
