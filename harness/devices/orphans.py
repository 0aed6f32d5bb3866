"""Note what measures on a device, so that the next run can end it if its harness was killed."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from harness.core.commands import run_command
from harness.core.files import replacing
from harness.devices.base import Notify

ASK_SECONDS = 5.0
END_SECONDS = 10.0


class Note(BaseModel):
    """Describe what runs on a device, and the harness that runs it.

    Process ids are reused; with its start time an id identifies one process.
    """

    owner: int | None = None
    owner_started: str | None = None

    @property
    def owner_lives(self) -> bool:
        return None not in (self.owner, self.owner_started) and start_of(self.owner or 0) == self.owner_started


AnyNote = TypeVar("AnyNote", bound=Note)


class NoteFile(Generic[AnyNote]):
    """Keep the note of what measures on a device, in the file ``path``.

    Only the holder of the device's lock may use it.
    """

    def __init__(self, path: Path, schema: type[AnyNote]) -> None:
        self._path, self._schema = path, schema

    def write(self, note: AnyNote) -> None:
        """Record what this process starts, if that is possible."""
        owner = os.getpid()
        kept = note.model_copy(update={"owner": owner, "owner_started": start_of(owner)})
        with contextlib.suppress(OSError), replacing(self._path) as partial:
            partial.write_text(kept.model_dump_json(), encoding="utf-8")

    def remove(self) -> None:
        """Remove the note, because what it describes has ended."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def left(self) -> AnyNote | None:
        """Return the note of a harness that no longer runs; None if there is none."""
        try:
            # The folder is everybody's, so another user's file must not be acted upon.
            if self._path.lstat().st_uid != os.getuid():
                return None
            note = self._schema.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None
        return None if note.owner_lives else note


class RunnerNote(Note):
    """Describe a runner that leads a process group of its own, and its folder."""

    pid: int
    started: str
    folder: str

    @classmethod
    def of(cls, pid: int, folder: Path) -> RunnerNote | None:
        """Return the note of a process; None if it no longer runs."""
        started = start_of(pid)
        return None if started is None else cls(pid=pid, started=started, folder=str(folder))

    def end(self, notify: Notify) -> None:
        """End exactly the recorded process with its children, if it still runs, and remove its folder."""
        if self.pid > 1 and start_of(self.pid) == self.started:
            notify(f"ending process {self.pid}, a runner that was left by a run that was killed")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    os.kill(self.pid, signal.SIGKILL)
            until = time.monotonic() + END_SECONDS
            while start_of(self.pid) == self.started and time.monotonic() < until:
                time.sleep(0.01)
        folder = Path(self.folder)
        if folder.name.startswith("harness-"):
            shutil.rmtree(folder, ignore_errors=True)


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
        done = run_command(command, deadline=ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, started = done.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()
