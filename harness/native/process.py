"""Run a build tool to its end: pass on its lines, keep a deadline, and leave none of its processes behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.core.cache import check_room

KEPT_LINES = 40


def compiled_crate(line: str) -> str | None:
    """Return the crate that cargo compiles according to a line of its output, or None."""
    match = re.match(r"\s*Compiling (\S+)", line)
    return match[1] if match else None


class ToolFailed(Exception):
    """A tool ended with a status other than 0, or not at all; the message ends with the tool's own last lines."""


def run_tool(
    command: list[str],
    *,
    deadline: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Run a tool in a process group of its own within ``deadline`` seconds; ``on_line`` gets its output.

    Whatever ends this call, Ctrl-C included, ends the whole group. Raises ToolFailed, or DiskFull if the tool found no
    space left.
    """
    name = Path(command[0]).name
    last: deque[str] = deque(maxlen=KEPT_LINES)
    late = threading.Event()
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            encoding="utf-8",
        )
    except OSError as error:
        raise ToolFailed(f"{name} cannot be started: {error.strerror or error}") from error

    def end_group() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def out_of_time() -> None:
        late.set()
        end_group()

    timer = threading.Timer(deadline, out_of_time)
    timer.start()
    try:
        assert process.stdout
        for line in process.stdout:
            last.append(line)
            on_line(line)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        timer.cancel()
        timer.join()
        # The process is not reaped yet, so that no other group can have its id.
        end_group()
        process.wait()
        if process.stdout:
            process.stdout.close()
    text = "".join(last).strip()
    if late.is_set():
        raise ToolFailed(f"{name} did not end within {deadline:.0f} s:\n{text}")
    if process.returncode != 0:
        check_room(name, text)
        raise ToolFailed(f"{name} ended with status {process.returncode}:\n{text}")
