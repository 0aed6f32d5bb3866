"""One order on one iPhone: started, followed by its result file, continued once if the phone was lost and came back."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import HarnessError
from harness.devices.base import AnyRecord, Notify, OnRecord
from harness.devices.collect import MAX_RESULT_BYTES, ResultReader
from harness.devices.ios.crashes import Crash, find_crash
from harness.devices.ios.files import Tail, place_order
from harness.devices.ios.launchers import Ended, Launcher, Started, launch_refused
from harness.devices.ios.link import Link
from harness.devices.ios.options import IosOptions
from harness.devices.ios.phone import Phone
from harness.protocol.schema import Probe, Sample, WorkOrder

ASK_SECONDS = 15.0
LAUNCH_SECONDS = 60.0
KILL_SECONDS = 15.0
SERIOUS = ("serious", "critical")
"""Words of NSProcessInfo.thermalState at which iOS slows the processor markedly."""


@dataclass(frozen=True)
class Outcome:
    """What came of an order. ``reader`` holds the records of all its processes."""

    reader: ResultReader
    ended: Ended | None = None
    """How the last process ended of its own; None if it was stopped or lost."""
    stopped: str | None = None
    """Why the app was ended by us, if it was."""
    lost: str | None = None
    """Why the phone was lost, if it was: the reason for what is missing."""
    trouble: str | None = None
    """Why the result could not be had whole."""
    crash: Crash | None = None
    log: str = ""
    """The end of what the app printed beside its records."""
    resumed: int = 0


class _Arrived:
    """The bytes of a result file as far as they were read, so that the file can be read on after a loss."""

    def __init__(self, reader: ResultReader) -> None:
        self.reader = reader
        self.count = 0
        self._hash = hashlib.sha256()

    def take(self, data: bytes) -> None:
        self.count += len(data)
        self._hash.update(data)
        self.reader.feed(data)

    def continue_from(self, whole: bytes) -> bool:
        """Take what ``whole`` has beyond what was read; False if it does not begin with that."""
        if hashlib.sha256(whole[: self.count]).digest() != self._hash.digest():
            return False
        self.take(whole[self.count :])
        return True


class Job:
    """Runs ``order`` in the installed app. ``on_record`` gets every record once, as early as it can be read.

    ``again`` is called before the order goes on: a phone that came back may have been restarted.
    """

    def __init__(
        self,
        phone: Phone,
        launcher: Launcher,
        bundle_id: str,
        executable: str,
        order: WorkOrder,
        *,
        options: IosOptions,
        tunnelled: bool,
        deadline: float,
        notify: Notify,
        closing: Callable[[], bool],
        on_record: OnRecord | None,
        again: Callable[[], None],
    ) -> None:
        self._phone = phone
        self._launcher = launcher
        self._bundle_id = bundle_id
        self._executable = executable
        self._order = order
        self._options = options
        self._tunnelled = tunnelled
        self._deadline = deadline
        self._notify = notify
        self._closing = closing
        self._on_record = on_record
        self._again = again
        self._until = time.monotonic() + deadline
        self._back = True

    def run(self) -> Outcome:
        """See the class. Raises what sending the order and launching raise, and what ``on_record`` raises."""
        first = self._process(())
        whole = first.reader.end is not None or first.reader.fault is not None
        if first.lost is None or whole or not self._may_go_on():
            return first
        before = tuple(first.reader.records)
        self._notify(f"going on with {self._phone.label} after {len(before)} records")
        try:
            self._again()
            second = self._process(before)
        except HarnessError as error:
            return replace(first, lost=f"{first.lost}; and again: {error.args[0]}")
        lost = f"lost a second time: {second.lost}" if second.lost else None
        return replace(second, lost=lost, resumed=1)

    def _may_go_on(self) -> bool:
        return not self._closing() and self._back and time.monotonic() < self._until

    def _process(self, before: Sequence[AnyRecord]) -> Outcome:
        """One process of the app; raises only while nothing of it was started."""
        order = self._order.model_copy(
            update={
                "skip_samples": sum(isinstance(record, Sample) for record in before),
                "skip_probes": sum(isinstance(record, Probe) for record in before),
            }
        )
        text = order.model_dump_json().encode()
        self._phone.do(
            lambda link: place_order(link, self._bundle_id, text), deadline=ASK_SECONDS, what="sending the order"
        )
        began = time.time()
        app = self._start()
        arrived = _Arrived(ResultReader(None, self._order, self._on_record, before=before))
        try:
            outcome = self._follow(app, arrived)
        finally:
            self._end(app)
        if outcome.lost is not None:
            outcome = self._recover(app, outcome, arrived)
        ended = outcome.ended
        if ended is not None and arrived.reader.end is None and (ended.status is None or ended.status < 0):
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

    def _follow(self, app: Started, arrived: _Arrived) -> Outcome:
        """Read the result as it grows until the app has ended, has to be ended or is lost."""
        tail: Tail | None = None
        reader = arrived.reader
        written: float | None = None
        try:
            while True:
                # Asked first: what an app wrote before it ended is read after it has.
                ended = app.ended
                try:
                    tail = tail or self._tail()
                    more = self._drain(tail, arrived)
                except HarnessError as error:
                    return Outcome(reader, lost=str(error.args[0]), log=_log(app))
                if ended is not None and ended.lost is None:
                    return Outcome(reader, ended=ended, stopped=reader.fault, log=_log(app))
                if ended is not None and reader.end is None:
                    return Outcome(reader, lost=self._lost_app(ended), log=_log(app))
                if reader.end is not None:
                    written = written or time.monotonic()
                    if ended is not None or time.monotonic() > written + self._options.exit_seconds:
                        return Outcome(reader, log=_log(app))
                elif stopped := self._stop(app, arrived):
                    return Outcome(reader, stopped=stopped, log=_log(app))
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
        """Take what is there; whether there was anything."""
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
        # Records are printed too, and are no noise.
        if app.printed - arrived.count > self._options.max_log_bytes:
            return f"more than {self._options.max_log_bytes} bytes printed, killed"
        if time.monotonic() > self._until:
            return f"still running after the deadline of {self._deadline:g} s, killed"
        return "the device was closed" if self._closing() else None

    def _end(self, app: Started) -> None:
        """Leave no process on the phone, as far as it can be reached; the next launch does it otherwise."""
        if app.ended is None:
            self._quietly(app.kill)
        self._quietly(app.close)

    def _quietly(self, ask: Callable[[], object]) -> None:
        async def do(_link: Link) -> None:
            await ask()  # type: ignore[misc]

        with contextlib.suppress(HarnessError):
            self._phone.do(do, deadline=KILL_SECONDS, what="ending the app")

    def _recover(self, app: Started, outcome: Outcome, arrived: _Arrived) -> Outcome:
        """Wait for the phone, end what still runs there, and read the result on."""
        grace = self._options.grace_seconds
        self._notify(f"{outcome.lost}; waiting up to {grace:.0f} s for it to come back")
        with contextlib.suppress(HarnessError):
            self._phone.drop_tunnel()
        error = self._phone.wait_back(grace, self._closing, tunnel=self._tunnelled)
        self._back = error is None
        if self._back and (pid := app.pid) is not None:
            with contextlib.suppress(HarnessError):
                self._phone.do(lambda link: self._launcher.end(link, pid), deadline=KILL_SECONDS, what="ending the app")
        try:
            # Without its tunnel the phone starts nothing, and still gives files.
            whole = self._pull()
        except HarnessError as lost:
            if not self._back:
                return outcome
            outcome = replace(outcome, trouble=f"the result could not be pulled: {lost.args[0]}")
            self._back = self._phone.wait_back(grace, self._closing, tunnel=self._tunnelled) is None
            if not self._back:
                return outcome
            try:
                whole = self._pull()
            except HarnessError:
                return outcome
        # A phone that lost power has lost what its file system had not written yet; what was read is kept.
        arrived.continue_from(whole)
        return replace(outcome, trouble=None)

    def _pull(self) -> bytes:
        """The whole result file as it is now, bounded."""
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
