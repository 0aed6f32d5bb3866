"""Run one order on one Android device: its processes, their streams and their result files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.devices.android.recovery import find_again
from harness.devices.android.running import Ending, Follower, Watch
from harness.devices.android.server import TROUBLE, explained
from harness.devices.android.shell import Shell, script
from harness.devices.android.store import RunnerStore
from harness.devices.base import AnyRecord
from harness.devices.collect import MAX_RESULT_BYTES, ResultReader
from harness.devices.errors import RunnerUnusable
from harness.devices.job import Job, Terms
from harness.devices.outcome import Outcome
from harness.devices.pushing import SLOWEST_BYTES_PER_SECOND
from harness.protocol.schema import WorkOrder

if TYPE_CHECKING:
    from harness.devices.android.app import Apps

PULL_SECONDS = 30.0
KILL_SECONDS = 15.0
_SIGNALS_FROM = 128
"""A shell reports a signal by adding this to its number."""
_NOT_STARTED = "harness-start: "
"""The prefix of the shell's message if it cannot become the runner. Its exit status differs from shell to shell."""


class AndroidJob(Job[Outcome]):
    """Run the order with ``command`` in the work folder ``folder`` of the device; ``apps`` if that starts an app."""

    def __init__(
        self,
        shell: Shell,
        store: RunnerStore,
        folder: str,
        command: list[str],
        order: WorkOrder,
        terms: Terms,
        *,
        mask: str,
        watch: Watch,
        apps: Apps | None = None,
    ) -> None:
        super().__init__(shell.serial, order, terms)
        self._shell = shell
        self._store = store
        self._folder = folder
        self._command = command
        self._mask = mask
        self._watch = watch
        self._apps = apps

    def _look(self) -> None:
        find_again(self._shell)

    def _process(self, number: int, before: Sequence[AnyRecord]) -> Outcome:
        text = self._text(before)
        order_name, result_name = f"order-{number}.json", f"result-{number}.jsonl"
        self._store.send(io.BytesIO(text), f"{self._folder}/{order_name}", len(text))
        command = [*self._command, "--order", order_name, "--result", result_name, "--stream"]
        follower = Follower(ResultReader(None, self._order, self._take, before=before), self._watch)
        ending = Ending()
        lost: HarnessError | None = None
        try:
            ending = follower.follow(
                self._shell,
                self._folder,
                command,
                mask=self._mask,
                until=self._until,
                overdue=self._overdue,
            )
        except HarnessError as error:
            lost = error
        except TROUBLE as error:
            lost = explained(error, f"{self._shell.serial} was lost while the runner ran", self._shell.server.address)
        if lost is not None:
            self._wait(str(lost.args[0]))
        self._kill()
        reader, trouble = self._collect(result_name, follower.reader, before, lost is not None)
        self._refuse_unusable(ending, reader)
        ended_app = self._apps.ending(ending.log) if self._apps else None
        return Outcome(
            reader,
            ended=lost is None,
            status=_status(ending.status),
            stopped=ending.stopped or ended_app,
            lost=str(lost.args[0]) if lost else None,
            trouble=trouble,
            log=ending.log,
        )

    def _kill(self) -> None:
        """End all processes on the device if it can be reached; else the next start does."""
        if self._back:
            with suppress(HarnessError):
                self._shell.run(script("kill"), self._folder, deadline=KILL_SECONDS, what="ending the runner")
            if self._apps:
                with suppress(HarnessError):
                    self._apps.end(self._folder)

    def _collect(
        self, name: str, streamed: ResultReader, before: Sequence[AnyRecord], lost: bool
    ) -> tuple[ResultReader, str | None]:
        """Return the records and what is wrong with them.

        They are the result file's if it can be pulled, else the streamed ones.
        """
        if not self._back:
            return streamed, None
        for last in (False, True):
            try:
                pulled = self._pull(name, before)
                break
            except HarnessError as error:
                self._wait(str(error.args[0]))
                if last or not self._back:
                    return streamed, f"the result could not be pulled: {error.args[0]}"
        arrived = streamed.fresh
        if lost and _in_order(pulled.fresh if pulled else (), arrived):
            # A device without power loses what its file system had not written yet; the stream has it.
            return streamed, None
        if pulled is None:
            return streamed, "the result file is not there" if arrived and not streamed.fault else None
        if not _in_order(arrived, pulled.fresh):
            return pulled, "what was streamed differs from the result file"
        for record in _not_in(pulled.fresh, arrived):
            self._take(record)
        return pulled, None

    def _pull(self, name: str, before: Sequence[AnyRecord]) -> ResultReader | None:
        """Return the file as it is on the device now; None if there is none. Raises DeviceLost, CommandTimeout."""
        reader = ResultReader(None, self._order, before=before)
        path = f"{self._folder}/{name}"
        with self._shell.server.deadline(PULL_SECONDS, f"asking for the result on {self._shell.serial}"):
            found = self._shell.adb.sync.stat(path)
        if found.mode == 0:
            return None
        seconds = PULL_SECONDS + min(found.size, MAX_RESULT_BYTES) / SLOWEST_BYTES_PER_SECOND
        with self._shell.server.deadline(seconds, f"pulling the result from {self._shell.serial}"):
            for chunk in self._shell.adb.sync.iter_content(path):
                reader.feed(chunk)
                if reader.fault:
                    break
        return reader

    def _refuse_unusable(self, ending: Ending, reader: ResultReader) -> None:
        if self._apps and not reader.fresh:
            self._apps.refuse_not_started(ending.log)
        if reader.fresh or _NOT_STARTED not in ending.log:
            return
        why = ending.log.partition(_NOT_STARTED)[2].splitlines()[0].strip()
        raise RunnerUnusable(f"the runner cannot be started on {self._shell.serial}: {why}")


def _in_order(some: Sequence[AnyRecord], everything: Sequence[AnyRecord]) -> bool:
    """Return whether ``some`` are among ``everything`` in the same order."""
    rest = iter(everything)
    return all(any(record == other for other in rest) for record in some)


def _not_in(everything: Sequence[AnyRecord], some: Sequence[AnyRecord]) -> Iterator[AnyRecord]:
    """Yield what ``everything`` has besides ``some``, which are in it in order."""
    known = iter(some)
    following = next(known, None)
    for record in everything:
        if following is not None and record == following:
            following = next(known, None)
        else:
            yield record


def _status(status: int | None) -> int | None:
    return _SIGNALS_FROM - status if status is not None and status > _SIGNALS_FROM else status
