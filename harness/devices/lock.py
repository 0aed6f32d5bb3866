"""Allow one run at a time on a device, by a lock file that a killed run releases."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from harness.devices.base import Notify
from harness.devices.errors import DeviceBusy

POLL_SECONDS = 0.2


class DeviceLock:
    """Lock a device; re-entrant for one object.

    Between objects and processes only one holds the device of that name.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        # This is the system's temporary folder, not a user's, because two users on one machine disturb each other, too.
        self.folder = folder or Path(tempfile.gettempdir()) / "harness-device-locks"
        self._path = self.folder / (re.sub(r"[^A-Za-z0-9._-]", "_", device) + ".lock")
        self._device = device
        self._lock: FileLock | None = None

    @property
    def note_path(self) -> Path:
        """Return the file in which the holder may record what runs on the device; each user has a file of their own."""
        return self._path.with_suffix(f".{os.getuid()}.runner")

    @contextlib.contextmanager
    def hold(self, *, wait_seconds: float, notify: Notify) -> Iterator[None]:
        """Hold the device; raises DeviceBusy naming the holder after ``wait_seconds``."""
        if self._lock is None:
            self._lock = self._open()
        self._acquire(self._lock, wait_seconds, notify)
        try:
            yield
        finally:
            self._lock.release()

    def holder(self) -> str | None:
        """Return who holds the device now, None if nobody does; this object's own hold counts, too."""
        if not self._path.exists():
            return None
        probe = FileLock(self._path, mode=0o666)
        try:
            probe.acquire(timeout=0)
        except Timeout:
            return self._holder()
        probe.release()
        return None

    def _open(self) -> FileLock:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):
                self.folder.chmod(0o1777)
        return FileLock(self._path, mode=0o666)

    def _acquire(self, lock: FileLock, wait_seconds: float, notify: Notify) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = self._holder()
            notify(f"device {self._device} is in use by {holder}; waiting up to {wait_seconds:.0f} s for it")
            began = time.monotonic()
            try:
                lock.acquire(timeout=wait_seconds, poll_interval=POLL_SECONDS)
            except Timeout:
                raise DeviceBusy(
                    f"device {self._device} is still in use by {self._holder()} after {wait_seconds:.0f} s"
                ) from None
            notify(f"device {self._device} is free after {time.monotonic() - began:.0f} s")
        with contextlib.suppress(OSError):
            self._holder_path.write_text(f"process {os.getpid()}", encoding="utf-8")

    @property
    def _holder_path(self) -> Path:
        return self._path.with_suffix(".holder")

    def _holder(self) -> str:
        try:
            return self._holder_path.read_text(encoding="utf-8")[:40] or "another run"
        except OSError:
            return "another run"
