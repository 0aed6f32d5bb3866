"""A phone that is a folder and a process of this machine: the least that a device behind a cable has to be.

Every look at the phone goes over the cable, so that a test pulls it at a moment of the harness's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.devices.base import (
    DEFAULT_DEADLINE,
    AnyRecord,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    description_of,
    silent,
)
from harness.devices.battery import battery_unfit
from harness.devices.collect import ResultReader
from harness.devices.errors import CommandTimeout, DeviceFull, DeviceLost, RunnerUnusable
from harness.devices.facts import host_facts
from harness.devices.job import Job, Terms
from harness.devices.lock import DeviceLock
from harness.devices.orphans import start_of
from harness.devices.outcome import Outcome, as_result, reason_of
from harness.devices.pushing import PushProgress, local_file, push_lines
from harness.devices.remote import RemoteDevice
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder

CHUNK = 2**20
POLL_SECONDS = 0.02
RUNNERS = "runners"


class FakePhone:
    """What stays where it is when the cable is pulled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / RUNNERS).mkdir(parents=True, exist_ok=True)
        self.plugged = True
        self.space_bytes = 2**32
        self.battery: dict[str, Any] = {"battery_percent": 80, "battery_celsius": 30.0}
        self.at_pull: Callable[[], object] | None = None

    def reach(self, what: str) -> Path:
        """Return the phone's folder; raises DeviceLost while it is unplugged."""
        if not self.plugged:
            raise DeviceLost(f"the fake phone was lost while {what}")
        return self.folder

    def process(self) -> int | None:
        """Return the runner that runs there now, which stands in a file of the phone's."""
        with contextlib.suppress(OSError, ValueError):
            pid, started = json.loads((self.folder / "process").read_text())
            return int(pid) if start_of(pid) == started else None
        return None

    def end(self) -> None:
        """End what runs there, with its children; remove what it wrote."""
        if (pid := self.process()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        for path in (self.folder / RUNNERS).glob("*.half"):
            path.unlink()


class FakeDevice(RemoteDevice):
    """See :class:`harness.devices.base.Device`."""

    kind, name, target, companion, emulated = "fake", "a fake phone", "llvm", None, True

    def __init__(
        self, phone: FakePhone, *, lock_folder: Path, max_log_bytes: int = 2**26, notify: Notify = silent
    ) -> None:
        lock = DeviceLock("fake phone", lock_folder)
        super().__init__(lock, notify=notify, grace_seconds=0.5, settle_poll_seconds=0.05)
        self.phone = phone
        self.max_log_bytes = max_log_bytes

    def facts(self) -> dict[str, Any]:
        return {**host_facts(), **self._lasting("0001")}

    def _conditions(self) -> dict[str, Any]:
        self.phone.reach("reading conditions")
        return dict(self.phone.battery)

    def _unfit(self, conditions: dict[str, Any]) -> str | None:
        return battery_unfit(conditions)

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        with self.reserve(), self._running():
            return str(self._deployed(runner, on_push))

    def describe(self, runner: Path, *, deadline: float = 30.0) -> RunnerDescription:
        with self.reserve(), self._running():
            command = [str(self._deployed(runner)), "--describe"]
            try:
                with self._started(command) as process:
                    status = process.wait(deadline)
            except subprocess.TimeoutExpired:
                raise CommandTimeout(f"{runner.name} --describe gave no answer within {deadline:.0f} s") from None
            printed, log = (self.phone.reach("describing") / name for name in ("stdout", "stderr"))
            if status:
                raise RunnerUnusable(f"{runner.name} --describe {ending_of(status)}{quoted(log.read_bytes())}")
            return description_of(printed.read_bytes(), runner)

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        del workdir
        began = time.monotonic()
        with self.reserve(), self._running():
            there = self._deployed(runner)
            job = FakeJob(self, there, order, self._terms(deadline, on_record, lambda: None))
            try:
                outcome = job.run()
            finally:
                self.clear()
            return as_result(order, outcome, reason_of(outcome), wall=time.monotonic() - began)

    def close(self) -> None:
        self._stopped()

    def clear(self) -> None:
        """Leave nothing of a run on the phone, as far as it can be reached."""
        with contextlib.suppress(HarnessError):
            self.phone.reach("cleaning up")
            self.phone.end()

    def _deployed(self, runner: Path, on_push: OnPush | None = None) -> Path:
        """Have the runner on the phone, where it is found by its size and time of change."""
        file, phone = local_file(runner), self.phone
        there = phone.reach("looking for the runner") / RUNNERS / f"{file.size}-{file.changed_ns}"
        if phone.process() is not None or list(phone.folder.glob("result-*")):
            self._notify("removed what was left on the fake phone by a run that was killed")
        phone.end()
        if there.exists():
            return there
        if file.size > phone.space_bytes:
            raise DeviceFull("no room on the fake phone for the runner")
        half = there.with_suffix(".half")
        progress = PushProgress(file.size, on_push or push_lines(self._notify, self.name), self._closing.is_set)
        with runner.open("rb") as source, half.open("wb") as target:
            while chunk := source.read(CHUNK):
                progress.go_on()
                phone.reach("pushing the runner")
                target.write(chunk)
                progress.add(len(chunk))
        half.chmod(0o755)
        half.rename(there)
        return there

    @contextlib.contextmanager
    def _started(self, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """A process of the phone's. What happens to the cable does not concern it."""
        folder = self.phone.reach("starting the runner")
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            try:
                process = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                raise RunnerUnusable(f"the runner cannot be started: {error.strerror}") from error
        (folder / "process").write_text(json.dumps([process.pid, start_of(process.pid)]))
        try:
            yield process
        finally:
            if self.phone.plugged:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class FakeJob(Job[Outcome]):
    """Runs the order in processes of the phone's, and reads their results over the cable."""

    def __init__(self, device: FakeDevice, runner: Path, order: WorkOrder, terms: Terms) -> None:
        super().__init__(device.name, order, terms)
        self._device = device
        self._runner = runner

    def _look(self) -> None:
        self._device.phone.reach("looking for it")

    def _process(self, number: int, before: Sequence[AnyRecord]) -> Outcome:
        phone = self._device.phone
        order, result = f"order-{number}.json", f"result-{number}.jsonl"
        (phone.reach("sending the order") / order).write_bytes(self._text(before))
        reader = ResultReader(phone.folder / result, self._order, self._take, before=before)
        with self._device._started([str(self._runner), "--order", order, "--result", result]) as process:
            try:
                return self._follow(process, reader)
            except DeviceLost as lost:
                outcome = Outcome(reader, lost=str(lost.args[0]))
            self._wait(str(outcome.lost))
            return self._read_on(outcome)

    def _follow(self, process: subprocess.Popen[bytes], reader: ResultReader) -> Outcome:
        phone = self._device.phone
        while True:
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            folder = phone.reach("the runner ran")
            reader.poll()
            printed = [folder / name for name in ("stdout", "stderr")]
            noise = max(path.stat().st_size for path in printed)
            stopped = reader.fault
            if not ended and not stopped:
                limit = self._device.max_log_bytes
                stopped = f"more than {limit} bytes printed, killed" if noise > limit else self._overdue()
            if ended or stopped:
                phone.reach("the runner ran")
                status = process.wait() if ended else None
                return Outcome(reader, ended=ended, status=status, stopped=stopped, log=printed[1].read_text()[-2000:])
            time.sleep(POLL_SECONDS)

    def _read_on(self, outcome: Outcome) -> Outcome:
        """Read what was written while nobody looked; a second loss keeps what is there."""
        phone = self._device.phone
        for _ in range(2):
            if not self._back:
                break
            try:
                if do := phone.at_pull:
                    phone.at_pull = None
                    do()
                phone.reach("pulling the result")
                outcome.reader.poll()
                return Outcome(outcome.reader, lost=outcome.lost)
            except DeviceLost as error:
                outcome = Outcome(
                    outcome.reader, lost=outcome.lost, trouble=f"the result could not be pulled: {error.args[0]}"
                )
                self._wait(str(error.args[0]))
        return outcome
