"""Work that needs PyTorch or TVM runs in a process of its own, so that nothing else ever imports them.

Parent: :func:`run_worker` starts ``python -m MODULE``, writes the request as JSON to its standard input and
reads one JSON event a line: ``progress``, then ``result`` or ``error``. Child: :func:`serve`.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from harness.errors import ExitCode, HarnessError

Progress = Callable[[str], None]
STDERR_LINES = 30


class WorkerFailed(HarnessError):
    """A worker ended without a result."""

    cure = "the lines above are its last words; `harness doctor` checks the installation"


class WorkerError(HarnessError):
    """A HarnessError that was raised inside a worker."""

    def __init__(self, kind: str, message: str, cure: str, exit_code: int) -> None:
        super().__init__(message, cure=cure)
        self.kind = kind
        self.exit_code = ExitCode(exit_code)


def run_worker(module: str, request: dict[str, Any], progress: Progress, *, threads: int = 2) -> dict[str, Any]:
    """The worker's result; raises WorkerError for its own errors and WorkerFailed when it dies.

    ``threads`` bounds the numeric libraries' own pools. Ctrl-C ends the child too.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    last_words: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
    reader = threading.Thread(target=last_words.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        _send(process.stdin, request)
        for line in process.stdout:
            event = _parse(line)
            if "progress" in event:
                progress(str(event["progress"]))
            elif "error" in event:
                raise WorkerError(**event["error"])
            elif "result" in event:
                result: dict[str, Any] = event["result"]
                return result
        status = process.wait()
        reader.join(timeout=5)
        raise WorkerFailed(f"{module} ended with status {status} and no result:\n{''.join(last_words).rstrip()}")
    finally:
        process.kill()
        process.wait()


def _send(stream: IO[str], request: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(request))
        stream.close()
    except BrokenPipeError:  # it died at its imports; its last words say why
        pass


def _parse(line: str) -> dict[str, Any]:
    """Anything that is no event (a library's own print) is passed over."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def serve(handle: Callable[[dict[str, Any], Progress], dict[str, Any]]) -> None:
    """The child's main: one request from standard input, events to standard output."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; only events may reach the parent

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    try:
        result = handle(json.loads(sys.stdin.read()), lambda text: emit({"progress": text}))
    except HarnessError as error:
        message = Exception.__str__(error)
        emit(
            {
                "error": {
                    "kind": type(error).__name__,
                    "message": message,
                    "cure": error.cure,
                    "exit_code": int(error.exit_code),
                }
            }
        )
    except KeyboardInterrupt:
        sys.exit(130)
    else:
        emit({"result": result})
