"""Follow a runner on its way to a device: which file it is, and how much has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.devices.base import Notify, OnPush
from harness.devices.errors import DeviceLost, RunnerUnusable

LINE_SECONDS = 0.5
SLOWEST_BYTES_PER_SECOND = 1e6
_MEGABYTE = 1e6


@dataclass(frozen=True)
class LocalFile:
    """Describe a runner on this machine at the time of the look."""

    path: Path
    size: int
    changed_ns: int
    inode: int


def local_file(path: Path) -> LocalFile:
    """Look at a runner; raises RunnerUnusable if it is not there."""
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return LocalFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def unreadable(path: Path, error: OSError) -> RunnerUnusable:
    return RunnerUnusable(f"the runner {path} cannot be read: {error.strerror or error}")


def push_lines(notify: Notify, device: str) -> OnPush:
    """Return a function that prints the progress of a push in lines."""

    def progress(done: int, total: int) -> None:
        notify(f"pushing the runner to {device}: {done / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB")

    return progress


class PushProgress:
    """Count the bytes of one push, and pass them on now and then."""

    def __init__(self, total: int, on_push: OnPush, closing: Callable[[], bool]) -> None:
        self._total = total
        self._done = 0
        self._on_push = on_push
        self._closing = closing
        self._next = time.monotonic() + LINE_SECONDS

    def go_on(self) -> None:
        """Raise DeviceLost if the device was closed meanwhile."""
        if self._closing():
            raise DeviceLost("the device was closed while the runner was pushed")

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            self._on_push(self._done, self._total)
