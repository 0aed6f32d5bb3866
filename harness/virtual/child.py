"""Run a program that ends with the harness, however the harness ends, and leaves nothing running.

The program runs under bubblewrap in a process namespace of its own. The kernel ends bubblewrap when the *thread* that
started it ends (``--die-with-parent``). So each child has a thread that starts it and then waits for it. Otherwise the
program would end with the thread of a timer or a pool.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

KILL_DEADLINE_SECONDS = 10.0
_Self = TypeVar("_Self", bound="Sandboxed")


class Child:
    """Run one sandboxed program from construction to ``kill()``. ``log`` gets its output.

    ``sandbox`` is bubblewrap's command line with its options, ``command`` what runs inside.
    Raises OSError if bubblewrap cannot be started.
    """

    def __init__(self, sandbox: Sequence[str], command: Sequence[str], log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._started = threading.Event()
        self._namespace: int | None = None
        read, write = os.pipe()
        arguments = [*sandbox, "--die-with-parent", "--unshare-pid", "--info-fd", str(write), *command]
        self._thread = threading.Thread(
            target=self._run, args=(arguments, write), name=f"child {log.stem}", daemon=True
        )
        self._thread.start()
        self._started.wait()
        with os.fdopen(read, "rb") as stream:
            output = stream.read()
        if self._error is not None:
            raise self._error
        with contextlib.suppress(ValueError, KeyError):
            self._namespace = int(json.loads(output)["child-pid"])

    def _run(self, arguments: list[str], write: int) -> None:
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[write],
                    # Ctrl-C is for the harness, which then ends its children in order.
                    start_new_session=True,
                )
        except OSError as error:
            self._error = error
            return
        finally:
            os.close(write)
            self._started.set()
        self._process.wait()

    @property
    def pid(self) -> int | None:
        """Return the id of the first process inside the sandbox, as this machine counts.

        It is None if the sandbox did not come up.
        """
        return self._namespace

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def kill(self) -> None:
        """End every process of the sandbox at once; return when all of them are gone."""
        if self._process is not None and self.alive:
            # The namespace's first process takes all others with it. bubblewrap lives on only to report it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._namespace or self._process.pid, signal.SIGKILL)
        self._thread.join(KILL_DEADLINE_SECONDS)
        if self._process is not None and self.alive:
            self._process.kill()
            self._thread.join(KILL_DEADLINE_SECONDS)


class Sandboxed(ABC):
    """Manage something that is one child while it is started; as a context it is started inside."""

    _child: Child | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """Return the first process of its namespace, None if it is not running."""
        return self._child.pid if self._child is not None and self._child.alive else None

    @abstractmethod
    def start(self) -> object:
        """Start the child, if it is not running."""

    @abstractmethod
    def stop(self) -> None:
        """End the child and everything it runs."""

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
