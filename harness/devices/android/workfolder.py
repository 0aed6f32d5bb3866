"""Manage a run's folder on the device, and the folders of runs whose harness died."""

from __future__ import annotations

from harness.core.errors import HarnessError
from harness.devices.android.shell import Shell, script
from harness.devices.base import Notify
from harness.devices.errors import DeviceBusy, DeviceFull, FolderNotWritable

STORE = "harness-store"
ASK_SECONDS = 30.0


class WorkFolders:
    """Manage the folders below ``base`` on one device.

    Their names begin with ``harness-`` and the name of the computer that made them. Under the device's lock any other
    folder of this computer is stale: its processes are ended, its settings are put back, and it is removed. Another
    computer's folder is left alone. It is in use while a process works in it, and rubbish after a day without one.
    """

    def __init__(self, shell: Shell, base: str, computer: str, session: str, notify: Notify) -> None:
        self._shell = shell
        self._base = base
        self._computer = computer
        self._session = session
        self._notify = notify

    def make(self, name: str) -> str:
        """Remove what dead harnesses left, make the work folder ``name``, and return its path.

        Raises DeviceBusy (another computer's run), FolderNotWritable, DeviceFull, DeviceLost, CommandTimeout.
        """
        answer = self._shell.run(
            script("prepare"), self._base, self._computer, self._session, name,
            deadline=ASK_SECONDS, what="making the work folder",
        )  # fmt: skip
        for line in answer.out.splitlines():
            word, _, rest = line.partition(" ")
            if word == "busy":
                raise DeviceBusy(f"device {self._shell.serial} is in use by another computer, {rest}")
            if word == "unwritable":
                raise refusal(rest, self._base, self._shell.serial)
            if word == "stale":
                self._notify(f"removed {rest}, left on {self._shell.serial} by a run that was killed")
        return f"{self._base}/{name}"


def refusal(words: str, folder: str, serial: str) -> HarnessError:
    """Return the error for a device's message about a folder that cannot be written."""
    if "No space" in words:
        return DeviceFull(f"no room in {folder} on {serial}: {words}")
    return FolderNotWritable(f"{folder} on {serial} cannot be written: {words}")
