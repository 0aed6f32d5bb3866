"""Write files that survive a kill: write another file and rename it, or append one whole line in one write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from pydantic import BaseModel

from harness.core.files import replacing
from harness.results.errors import writing


class Appender:
    """Append whole JSON lines to a file; each line is written to the system before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def append(self, line: BaseModel) -> None:
        """Append a line. Raises StorageFull; the file then ends with the last whole line, if the disk allows that."""
        data = line.model_dump_json().encode() + b"\n"
        with writing(self.path):
            if self._fd is None:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            whole = os.fstat(self._fd).st_size
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, whole)
                raise

    def sync(self) -> None:
        """Write the file to the disk itself, in case the whole machine crashes."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            self.sync()
            os.close(self._fd)
            self._fd = None


class FolderLock:
    """Show other processes of this machine that a folder is being written; the lock ends with the process.

    Several may hold it. Where the file system has no locks it does nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            for _ in range(_TRIES):
                with contextlib.suppress(BlockingIOError):  # somebody looks at this moment
                    fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return
                time.sleep(0.01)

    def release(self) -> None:
        """Release the lock; again without effect."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        self.release()


def being_written(folder: Path) -> bool | None:
    """Return whether a process of this machine holds the folder's lock; None where that cannot be known."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False


_TRIES = 50


def write_atomically(path: Path, value: BaseModel) -> None:
    """Replace ``path`` by the value as JSON; a reader sees the old or the new, never a part."""
    write_text_atomically(path, value.model_dump_json(indent=2) + "\n")


def write_text_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by a text in the same way. Raises StorageFull or StorageUnwritable."""
    with writing(path), replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
