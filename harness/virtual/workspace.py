"""Manage the folders of running virtual devices.

A folder is removed by its owner or, if that was killed, by the next device. The owner holds a lock next to the folder
for as long as it lives; the lock of a dead process is free.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

SWEEP_DEADLINE_SECONDS = 60.0


def workspaces() -> Path:
    """Return the place of this user's folders: among the system's temporary files."""
    return Path(tempfile.gettempdir()) / f"harness-virtual-{getpass.getuser()}"


@contextlib.contextmanager
def workspace(base: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, and remove it at the end; folders whose owners died are removed first."""
    base = base or workspaces()
    base.mkdir(parents=True, exist_ok=True)
    # Without this lock, another process could take a new folder for one without an owner.
    with FileLock(base / "sweep.lock", timeout=SWEEP_DEADLINE_SECONDS):
        _sweep(base)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        lock = FileLock(_lock_path(folder))
        lock.acquire()
    try:
        yield folder
    finally:
        with FileLock(base / "sweep.lock", timeout=SWEEP_DEADLINE_SECONDS):
            remove_tree(folder)
            lock.release()
            _lock_path(folder).unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder, also parts from which a device took its owner's permissions."""
    for place, names, _files in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)  # before the walk goes in
    shutil.rmtree(folder)


def _sweep(base: Path) -> None:
    for folder in base.glob("run-*"):
        if not folder.is_dir():
            continue
        lock = FileLock(_lock_path(folder))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        with contextlib.suppress(OSError):
            remove_tree(folder)
        lock.release()
        _lock_path(folder).unlink(missing_ok=True)


def _lock_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")
