"""One order on one device: started, collected, and continued once if the device was lost and came back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from harness.core.errors import HarnessError
from harness.devices.android.recovery import wait_back
from harness.devices.android.running import Ending, Follower, Watch
from harness.devices.android.server import TROUBLE, explained
from harness.devices.android.shell import Shell, script
from harness.devices.android.store import RunnerStore
from harness.devices.base import AnyRecord, Notify, OnRecord
from harness.devices.collect import MAX_RESULT_BYTES, ResultReader
from harness.devices.errors import RunnerUnusable
from harness.protocol.schema import Probe, Sample, WorkOrder

PULL_SECONDS = 30.0
KILL_SECONDS = 15.0
_SLOWEST_BYTES_PER_SECOND = 1e6
_NOT_STARTED = "harness-start: "
"""How the shell that should become the runner signs its complaint; its exit status differs from shell to shell."""


class ListenerFailed(Exception):
    """``on_record`` raised, which is its ``cause``: whatever that is, the device was not lost."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(frozen=True)
class Outcome:
    """What came of an order. ``reader`` holds the records of all its processes."""

    reader: ResultReader
    ending: Ending | None
    """Of the last process; None if the device was lost while it ran."""
    lost: str | None = None
    """Why the device was lost, if it was: the reason for what is missing."""
    trouble: str | None = None
    """Why the records cannot be trusted or had, whatever they say."""
    resumed: int = 0


class Job:
    """Runs ``order`` with ``command`` in the work folder ``folder`` of the device.

    ``on_record`` gets every record once, as early as possible. ``again`` is called before the order goes on: a device
    that came back may have been restarted.
    """

    def __init__(
        self,
        shell: Shell,
        store: RunnerStore,
        folder: str,
        command: list[str],
        order: WorkOrder,
        *,
        mask: str,
        watch: Watch,
        deadline: float,
        grace: float,
        notify: Notify,
        closing: Callable[[], bool],
        on_record: OnRecord | None,
        again: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._store = store
        self._folder = folder
        self._command = command
        self._order = order
        self._mask = mask
        self._watch = watch
        self._deadline = deadline
        self._grace = grace
        self._notify = notify
        self._closing = closing
        self._listener = on_record
        self._again = again
        self._until = time.monotonic() + deadline
        self._back = True

    def run(self) -> Outcome:
        """See the class. Raises RunnerUnusable, what sending the order raises, and what ``on_record`` raises."""
        try:
            return self._run()
        except ListenerFailed as failed:
            raise failed.cause from None

    def _run(self) -> Outcome:
        first = self._process(1, ())
        whole = first.reader.end is not None or first.reader.fault is not None
        if first.lost is None or first.trouble is not None or whole or not self._may_go_on():
            return first
        before = tuple(first.reader.records)
        self._notify(f"going on with {self._shell.serial} after {len(before)} records")
        try:
            self._again()
            second = self._process(2, before)
        except RunnerUnusable:
            raise
        except HarnessError as error:
            return replace(first, lost=f"{first.lost}; and again: {error.args[0]}")
        lost = f"lost a second time: {second.lost}" if second.lost else None
        return replace(second, lost=lost, resumed=1)

    def _on_record(self, record: AnyRecord) -> None:
        if self._listener is not None:
            try:
                self._listener(record)
            except Exception as error:
                raise ListenerFailed(error) from error

    def _may_go_on(self) -> bool:
        return not self._closing() and self._back and time.monotonic() < self._until

    def _process(self, number: int, before: Sequence[AnyRecord]) -> Outcome:
        """One process of the runner. Never raises for a loss."""
        order = self._order.model_copy(
            update={
                "skip_samples": sum(isinstance(record, Sample) for record in before),
                "skip_probes": sum(isinstance(record, Probe) for record in before),
            }
        )
        text = order.model_dump_json().encode()
        order_name, result_name = f"order-{number}.json", f"result-{number}.jsonl"
        self._store.send(io.BytesIO(text), f"{self._folder}/{order_name}", len(text))
        command = [*self._command, "--order", order_name, "--result", result_name, "--stream"]
        follower = Follower(ResultReader(None, self._order, self._on_record, before=before), self._watch)
        ending: Ending | None = None
        lost: HarnessError | None = None
        try:
            ending = follower.follow(
                self._shell,
                self._folder,
                command,
                mask=self._mask,
                until=self._until,
                deadline=self._deadline,
                closing=self._closing,
            )
        except HarnessError as error:
            lost = error
        except TROUBLE as error:
            lost = explained(error, f"{self._shell.serial} was lost while the runner ran", self._shell.server.address)
        if lost is not None:
            self._wait(lost)
        self._kill()
        reader, trouble = self._collect(result_name, follower.reader, before, lost is not None)
        self._refuse_unusable(ending, reader)
        return Outcome(reader, ending, str(lost.args[0]) if lost else None, trouble)

    def _wait(self, lost: HarnessError) -> None:
        self._notify(f"{lost.args[0]}; waiting up to {self._grace:.0f} s for it to come back")
        self._back = wait_back(self._shell, self._grace, self._closing) is None

    def _kill(self) -> None:
        """Leave no process on the device, as far as it can be reached; the next start does it otherwise."""
        if self._back:
            with suppress(HarnessError):
                self._shell.run(script("kill"), self._folder, deadline=KILL_SECONDS, what="ending the runner")

    def _collect(
        self, name: str, streamed: ResultReader, before: Sequence[AnyRecord], lost: bool
    ) -> tuple[ResultReader, str | None]:
        """The result file's records if it can be had, else the streamed ones; and what is wrong with either."""
        if not self._back:
            return streamed, None
        for last in (False, True):
            try:
                pulled = self._pull(name, before)
                break
            except HarnessError as error:
                self._wait(error)
                if last or not self._back:
                    return streamed, f"the result could not be pulled: {error.args[0]}"
        arrived = streamed.fresh
        if lost and _in_order(pulled.fresh if pulled else (), arrived):
            # A device that lost power has lost what its file system had not written yet; the stream has it.
            return streamed, None
        if pulled is None:
            return streamed, "the result file is not there" if arrived and not streamed.fault else None
        if not _in_order(arrived, pulled.fresh):
            return pulled, "what was streamed differs from the result file"
        for record in _not_in(pulled.fresh, arrived):
            self._on_record(record)
        return pulled, None

    def _pull(self, name: str, before: Sequence[AnyRecord]) -> ResultReader | None:
        """The file as it is on the device now; None if there is none. Raises DeviceLost, CommandTimeout."""
        reader = ResultReader(None, self._order, before=before)
        path = f"{self._folder}/{name}"
        with self._shell.server.deadline(PULL_SECONDS, f"asking for the result on {self._shell.serial}"):
            found = self._shell.adb.sync.stat(path)
        if found.mode == 0:
            return None
        seconds = PULL_SECONDS + min(found.size, MAX_RESULT_BYTES) / _SLOWEST_BYTES_PER_SECOND
        with self._shell.server.deadline(seconds, f"pulling the result from {self._shell.serial}"):
            for chunk in self._shell.adb.sync.iter_content(path):
                reader.feed(chunk)
                if reader.fault:
                    break
        return reader

    def _refuse_unusable(self, ending: Ending | None, reader: ResultReader) -> None:
        if ending is None or reader.fresh or _NOT_STARTED not in ending.log:
            return
        why = ending.log.partition(_NOT_STARTED)[2].splitlines()[0].strip()
        raise RunnerUnusable(f"the runner cannot be started on {self._shell.serial}: {why}")


def _in_order(some: Sequence[AnyRecord], everything: Sequence[AnyRecord]) -> bool:
    """Whether ``some`` are among ``everything`` in the same order."""
    rest = iter(everything)
    return all(any(record == other for other in rest) for record in some)


def _not_in(everything: Sequence[AnyRecord], some: Sequence[AnyRecord]) -> Iterator[AnyRecord]:
    """What ``everything`` has beside ``some``, which are in it in order."""
    known = iter(some)
    following = next(known, None)
    for record in everything:
        if following is not None and record == following:
            following = next(known, None)
        else:
            yield record
