"""Use this machine as a device: the runner is a process group of its own in a work folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.devices.base import (
    DEFAULT_DEADLINE,
    DEFAULT_WAIT,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    description_of,
    silent,
)
from harness.devices.collect import ResultReader
from harness.devices.errors import CommandTimeout, RunnerUnusable
from harness.devices.facts import host_conditions, host_facts
from harness.devices.lock import DeviceLock
from harness.devices.orphans import NoteFile, RunnerNote
from harness.devices.outcome import Outcome, as_result, reason_of
from harness.devices.wording import ending_of, quoted
from harness.protocol.schema import WorkOrder

POLL_SECONDS = 0.02
MAX_LOG_BYTES = 64 * 2**20
LOG_TAIL_BYTES = 2000
ENDS_WITH_STDIN = "DEVICE_RUNNER_ENDS_WITH_STDIN"
"""Asks a runner to end when its standard input does (``device_runner/src/watch.rs``)."""


class HostDevice:
    """Provide ``--device host``; see :class:`harness.devices.base.Device`."""

    kind = "host"
    name = "host"
    target = "llvm"
    companion = None
    emulated = False

    def __init__(self, *, lock_folder: Path | None = None, max_log_bytes: int = MAX_LOG_BYTES) -> None:
        self._lock = DeviceLock(self.name, lock_folder)
        self._note = NoteFile(self._lock.note_path, RunnerNote)
        self._max_log_bytes = max_log_bytes
        self._closed = threading.Event()
        self._held = 0
        """How often this object holds the device. A runner that runs meanwhile is its own."""

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, **host_facts()}

    def conditions(self) -> dict[str, Any]:
        return host_conditions()

    @contextlib.contextmanager
    def reserve(self, *, wait_seconds: float = DEFAULT_WAIT, notify: Notify = silent) -> Iterator[None]:
        with self._lock.hold(wait_seconds=wait_seconds, notify=notify):
            if not self._held and (left := self._note.left()):
                left.end(notify)
                self._note.remove()
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1

    def settle(self, *, wait_seconds: float = 0.0, notify: Notify = silent) -> None:
        """Return at once: this machine's load is recorded and shown instead."""

    def stop(self) -> None:
        self._closed.set()

    def rearm(self) -> None:
        """Let orders run again; see :class:`harness.devices.base.Rearms`."""
        self._closed.clear()

    def close(self) -> None:
        """End a run in progress, which another thread follows; there is nothing else to close."""
        self._closed.set()

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        """Return the runner's path; it is already on this machine."""
        return str(runner.absolute())

    def describe(self, runner: Path, *, deadline: float = 30.0) -> RunnerDescription:
        with _started([str(runner), "--describe"], Path.cwd(), subprocess.PIPE, subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=deadline)
            except subprocess.TimeoutExpired:
                raise CommandTimeout(f"{runner.name} --describe gave no answer within {deadline:.0f} s") from None
        status = process.returncode
        if status != 0:
            raise RunnerUnusable(f"{runner.name} --describe {ending_of(status)}{quoted(err[-LOG_TAIL_BYTES:])}")
        return description_of(out, runner)

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        """Run an order; see the protocol.

        ``workdir`` is where the work folder is made, the system's temporary folder by default.
        """
        with self.reserve(), _work_folder(workdir) as folder:
            (folder / "order.json").write_text(order.model_dump_json(), encoding="utf-8")
            reader = ResultReader(folder / "result.jsonl", order, on_record)
            command = [str(runner.absolute()), "--order", "order.json", "--result", "result.jsonl"]
            began = time.monotonic()
            try:
                with (
                    (folder / "stdout").open("wb") as out,
                    (folder / "stderr").open("wb") as err,
                    _started(command, folder, out, err, ends_with_us=True) as process,
                ):
                    if note := RunnerNote.of(process.pid, folder):
                        self._note.write(note)
                    stopped = self._watch(process, reader, folder, began + deadline, deadline)
            finally:
                self._note.remove()
            # The last records may have been written between the last look and the end of the process.
            reader.poll()
            outcome = Outcome(
                reader, ended=True, status=process.returncode, stopped=stopped, log=_tail(folder / "stderr")
            )
            return as_result(order, outcome, reason_of(outcome), wall=time.monotonic() - began)

    def _watch(
        self, process: subprocess.Popen[bytes], reader: ResultReader, folder: Path, until: float, deadline: float
    ) -> str | None:
        """Follow the process to its end; return the reason if it has to be ended."""
        while True:
            ended = _has_ended(process)
            reader.poll()
            if ended or reader.fault:
                return reader.fault
            if self._closed.is_set():
                return "the device was closed"
            if time.monotonic() > until:
                return f"still running after the deadline of {deadline:g} s, killed"
            if any((folder / log).stat().st_size > self._max_log_bytes for log in ("stdout", "stderr")):
                return f"more than {self._max_log_bytes} bytes on stdout or stderr, killed"
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _work_folder(parent: Path | None) -> Iterator[Path]:
    folder = (parent or Path(tempfile.gettempdir())) / f"harness-{uuid.uuid4()}"
    folder.mkdir(mode=0o700, parents=parent is not None)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(
    command: list[str], folder: Path, out: Any, err: Any, *, ends_with_us: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a group of its own; nothing of the group is left when the context ends, however it ends.

    With ``ends_with_us`` its standard input is a pipe whose other end closes when this process is killed.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE if ends_with_us else subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, ENDS_WITH_STDIN: "1"} if ends_with_us else None,
            start_new_session=True,
        )
    except OSError as error:
        raise RunnerUnusable(f"the runner {command[0]} cannot be started: {error.strerror or error}") from error
    try:
        yield process
    finally:
        # The group outlives its leader if the runner left children behind. Its id is ours until the wait.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the leader ended, without reaping it: its id must stay ours until the group is killed."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
