"""Folders of running virtual devices, each removed by its owner or, if that was killed, by the next one.

A folder's owner holds a lock beside it for as long as it lives; the lock of a dead process is free.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

SWEEP_DEADLINE_SECONDS = 60.0


def workspaces() -> Path:
    """Where this user's folders lie: among the system's temporary files."""
    return Path(tempfile.gettempdir()) / f"harness-virtual-{getpass.getuser()}"


@contextlib.contextmanager
def workspace(base: Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end; folders whose owners died are removed first."""
    base = base or workspaces()
    base.mkdir(parents=True, exist_ok=True)
    # Without it, another process could take a folder that is being made for one without an owner.
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
    """Remove a folder, those parts too from which a device took its owner's permissions."""

    def unlock(function: Callable[..., Any], path: str, _error: Any) -> None:
        parent = Path(path).parent
        for locked in (parent, Path(path)):
            with contextlib.suppress(OSError):
                if not locked.is_symlink() and locked.is_dir():
                    locked.chmod(locked.stat().st_mode | stat.S_IRWXU)
        if function in (os.scandir, os.open, os.lstat, os.rmdir):
            shutil.rmtree(path)
        else:
            function(path)

    shutil.rmtree(folder, onerror=unlock)


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
