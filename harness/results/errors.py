"""Define the errors of stored runs."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import HarnessError, UsageError


class StorageFull(HarnessError):
    """The disk, a quota or a file size limit is exhausted."""

    cure = "make room, or name another folder with --results-dir; the complete records so far are kept"


class StorageUnwritable(HarnessError):
    """The results folder cannot be written."""

    cure = "name a folder you may write to with --results-dir"


class RunNotFound(UsageError):
    """No stored run, or more than one, has that name."""


class RunDamaged(HarnessError):
    """A file of a run is damaged in a way that no interruption explains."""

    cure = "the file was changed or the disk lost data: restore it, or delete the run's folder"


class NoResultsUrl(UsageError):
    """A command needs the address of a results store, and none is given."""


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into an error for a person."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"cannot write {path}: {error.strerror}") from error
        raise StorageUnwritable(f"cannot write {path}: {error.strerror or error}") from error
