"""Find runners of this machine whose harness was killed.

They are recorded while they run, and the next run ends them.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from harness.devices.base import Notify

ASK_SECONDS = 5.0
END_SECONDS = 10.0


class _Note(BaseModel):
    """Describe a running runner. Process ids are reused; with its start time an id identifies one process."""

    pid: int
    started: str
    folder: str
    owner: int | None = None
    owner_started: str | None = None
    """The start of the harness that runs it."""

    @property
    def owner_lives(self) -> bool:
        return self.owner is not None and start_of(self.owner) == self.owner_started


class RunnerNote:
    """Keep the note of the runner that measures on a device, in the file ``path``.

    Only the holder of the device's lock may use it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pid: int, folder: Path) -> None:
        """Record a runner that leads a process group of its own, if that is possible."""
        started = start_of(pid)
        if started is None:
            return
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        owner = os.getpid()
        note = _Note(pid=pid, started=started, folder=str(folder), owner=owner, owner_started=start_of(owner))
        with contextlib.suppress(OSError):
            partial.write_text(note.model_dump_json(), encoding="utf-8")
            partial.replace(self._path)

    def remove(self) -> None:
        """Remove the note, because the runner has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def end_left(self, notify: Notify) -> None:
        """End the recorded runner with its children, if it still runs, and remove its folder.

        Only exactly the recorded process is ended, and only if its harness no longer runs. Another process with its id
        is left alone, and so is the runner of a living harness.
        """
        try:
            # The folder is everybody's, so another user's file must not be acted upon.
            if self._path.lstat().st_uid != os.getuid():
                return
            note = _Note.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return
        if note.owner_lives:
            return
        if note.pid > 1 and start_of(note.pid) == note.started:
            notify(f"ending process {note.pid}, a runner that was left by a run that was killed")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(note.pid) == note.pid:
                    os.killpg(note.pid, signal.SIGKILL)
                else:
                    os.kill(note.pid, signal.SIGKILL)
            until = time.monotonic() + END_SECONDS
            while start_of(note.pid) == note.started and time.monotonic() < until:
                time.sleep(0.01)
        folder = Path(note.folder)
        if folder.name.startswith("harness-"):
            shutil.rmtree(folder, ignore_errors=True)
        self.remove()


def start_of(pid: int) -> str | None:
    """Return the time at which a running process was started, in the system's own form; None if it no longer runs."""
    if platform.system() == "Linux":
        try:
            # The name in brackets may contain anything. The state follows it, and the start is the twentieth field
            # after that.
            state, *fields = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
            return None if state in ("Z", "X") else fields[18]
        except (OSError, ValueError, IndexError):
            return None
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
