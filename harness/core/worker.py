"""Run work that needs PyTorch or TVM in a process of its own, so that nothing else ever imports them.

Parent: :class:`WorkerProcess` starts ``python -m MODULE``, writes each request as a line of JSON to its standard input
and reads one JSON event a line: ``progress``, then ``result`` or ``error``. :func:`run_worker` is for a single request.
Child: :func:`serve`, which answers request after request until its standard input ends.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from harness.core.errors import ExitCode, HarnessError
from harness.core.progress import Progress

STDERR_LINES = 30


class WorkerFailed(HarnessError):
    """A worker ended without a result."""

    cure = "the lines above are its last words; `harness doctor` checks the installation"


class WorkerSilent(WorkerFailed):
    """A worker gave no result in time, and was killed."""

    cure = "is the machine overloaded or out of memory? otherwise give more time with --deadline"


class WorkerError(HarnessError):
    """A HarnessError that was raised inside a worker."""

    def __init__(self, kind: str, message: str, cure: str, exit_code: int) -> None:
        super().__init__(message, cure=cure)
        self.kind = kind
        self.exit_code = ExitCode(exit_code)


def run_worker(module: str, request: dict[str, Any], progress: Progress, *, threads: int = 2) -> dict[str, Any]:
    """Return the worker's result; raises WorkerError for its own errors and WorkerFailed when it dies.

    ``threads`` bounds the numeric libraries' own pools. Ctrl-C ends the child too.
    """
    with WorkerProcess(module, threads=threads) as worker:
        return worker.ask(request, progress)


def start(module: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start ``python -m MODULE`` with pipes for its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )


class WorkerProcess:
    """Hold a worker that stays, and keeps what it has loaded. Close it, or use it as a context manager.

    The worker ends with its parent, however the parent ends, because its standard input ends then. Only one thread at
    a time may use it.
    """

    def __init__(self, module: str, *, threads: int = 2) -> None:
        self._module = module
        self._process = start(module, os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)})
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._last_words: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._overhear)]
        for reader in self._readers:
            reader.start()
        self._unanswered = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, request: dict[str, Any]) -> None:
        """Start a small request without waiting; the next :meth:`ask` or :meth:`settle` raises what went wrong."""
        self._send(request)
        self._unanswered += 1

    def settle(self, progress: Progress, *, deadline: float | None = None) -> dict[str, Any] | None:
        """Return the last begun request's result, None if all are answered; raises as :meth:`ask` does."""
        result = None
        while self._unanswered:
            result = self._receive(progress, deadline)
        return result

    def ask(self, request: dict[str, Any], progress: Progress, *, deadline: float | None = None) -> dict[str, Any]:
        """Return a request's result; raises WorkerError, WorkerFailed, and WorkerSilent after ``deadline`` seconds."""
        self.settle(progress, deadline=deadline)
        self.begin(request)
        return self._receive(progress, deadline)

    def close(self) -> None:
        """Kill the worker, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            # A dead worker's input cannot be flushed.
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin
        # If the worker has died already, its last lines of standard error state why.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _receive(self, progress: Progress, deadline: float | None) -> dict[str, Any]:
        """Return the next answer. An interruption kills the worker, so that the next request gets no old answer."""
        try:
            event = self._next_answer(progress, None if deadline is None else time.monotonic() + deadline, deadline)
        except BaseException:
            self._process.kill()
            raise
        self._unanswered -= 1
        if "error" in event:
            raise WorkerError(**event["error"])
        result: dict[str, Any] = event["result"]
        return result

    def _next_answer(self, progress: Progress, until: float | None, deadline: float | None) -> dict[str, Any]:
        while True:
            try:
                line = self._lines.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise WorkerSilent(f"{self._module} gave no answer within {deadline:g} s, and was ended") from None
            if line is None:
                self._lines.put(None)  # for whoever asks again
                raise self._died()
            event = _parse(line)
            if "progress" in event:
                progress(str(event["progress"]))
            elif "error" in event or "result" in event:
                return event

    def _died(self) -> WorkerFailed:
        status = self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        output = "".join(self._last_words).rstrip()
        return WorkerFailed(f"{self._module} ended with status {status} and no result:\n{output}")

    def _read(self) -> None:
        assert self._process.stdout
        with contextlib.suppress(ValueError):  # closed
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _overhear(self) -> None:
        assert self._process.stderr
        with contextlib.suppress(ValueError):
            self._last_words.extend(self._process.stderr)


def _parse(line: str) -> dict[str, Any]:
    """Return the event of a line, and an empty one for anything else, such as a library's print."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def serve(handle: Callable[[dict[str, Any], Progress], dict[str, Any]]) -> None:
    """Serve as the child's main: read requests from standard input, one a line, and write events to standard output."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; only events may reach the parent

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    try:
        for line in sys.stdin:
            emit(_answer(handle, json.loads(line), lambda text: emit({"progress": text})))
    except KeyboardInterrupt:
        sys.exit(130)


def _answer(
    handle: Callable[[dict[str, Any], Progress], dict[str, Any]], request: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    try:
        return {"result": handle(request, progress)}
    except HarnessError as error:
        facts = {"kind": type(error).__name__, "message": Exception.__str__(error)}
        return {"error": {**facts, "cure": error.cure, "exit_code": int(error.exit_code)}}
