"""Declare how a device brings files into a user's own app and out of it, for a self-test inside that app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.core.errors import UsageError
from harness.devices.errors import DeviceError

MOST_BYTES = 256 * 2**20
"""The most bytes of a file that is fetched."""
_APP = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class AppFilesRefused(DeviceError):
    """The device does not open the app's folder, or the file is not there."""

    cure = "install a build of the app that may be debugged, and let it call selfTest"


@runtime_checkable
class OpensApps(Protocol):
    """Bring files into the folder where a user's app keeps its own: ``files`` on Android, ``Documents`` on iOS.

    Both methods raise AppFilesRefused, DeviceFull, DeviceLost, DeviceBusy, CommandTimeout, and UsageError for a name
    that no app or no file has.
    """

    def send_to_app(self, app: str, source: Path, name: str) -> None:
        """Write a file in the app's folder under ``name``, whole or not at all."""
        ...

    def fetch_from_app(self, app: str, name: str, target: Path) -> int:
        """Write the app's file ``name`` to ``target``, whole or not at all; return its number of bytes.

        The app's file stays. More than MOST_BYTES are refused.
        """
        ...


def check_names(app: str, name: str) -> None:
    """Raise UsageError for what is no identifier of an app or no plain name of a file."""
    if not _APP.fullmatch(app):
        raise UsageError(f"{app!r} is no app's identifier", cure="write it like com.example.app")
    if not _FILE.fullmatch(name):
        raise UsageError(f"{name!r} is no file's name", cure="write a name without folders, such as records.jsonl")


def too_large(name: str, app: str) -> AppFilesRefused:
    """Return the error for a file that is larger than any self-test writes."""
    return AppFilesRefused(
        f"{name} of {app} has more than {MOST_BYTES // 2**20} MB",
        cure="selfTest writes less: is it that file's name?",
    )
