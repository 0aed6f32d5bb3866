"""Runners on the device: pushed once, found again by their contents, a few kept."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.cache import hash_file
from harness.devices.android.server import TROUBLE
from harness.devices.android.shell import Shell, script
from harness.devices.base import Notify
from harness.devices.errors import CommandTimeout, DeviceBusy, DeviceFull, DeviceLost, FolderNotWritable, RunnerUnusable
from harness.errors import HarnessError

STORE = "harness-store"
KEPT = 4
ASK_SECONDS = 30.0
_CHUNK = 2**16
"""The largest piece that the sync protocol carries; adbutils asks for less."""
_SLOWEST_BYTES_PER_SECOND = 1e6
_TELL_SECONDS = 0.5
_TELL_BYTES = 2**20


@dataclass(frozen=True)
class Binary:
    """A runner on this machine."""

    path: Path
    size: int
    sha256: str


def read_binary(path: Path) -> Binary:
    """Raises RunnerUnusable if there is no such file."""
    try:
        return Binary(path, path.stat().st_size, hash_file(path))
    except OSError as error:
        raise RunnerUnusable(f"the runner {path} cannot be read: {error.strerror or error}") from error


class RunnerStore:
    """The runners below ``base`` on one device.

    A file of the store bears its SHA-256 as its name and gets that name only after the device itself has computed
    it. Its size is looked at before every run, its contents once for each of these objects: nobody but the shell user
    can write there, and what a reboot may have torn is found by the next session.
    """

    def __init__(self, shell: Shell, base: str, computer: str, notify: Notify) -> None:
        self._shell = shell
        self._base = base
        self._computer = computer
        self._notify = notify
        self._checked: set[str] = set()

    def prepare(self, binary: Binary, name: str, closing: Callable[[], bool]) -> str:
        """Clear away what dead harnesses left, make the work folder ``name`` (none if empty), have the runner there.

        Returns the runner's path. Raises DeviceBusy (another computer's run), FolderNotWritable, DeviceFull,
        DeviceLost, CommandTimeout.
        """
        check = "no" if binary.sha256 in self._checked else "yes"
        answer = self._shell.run(
            script("prepare"), self._base, self._computer, name, binary.sha256, str(binary.size), check, str(KEPT),
            deadline=ASK_SECONDS, what="making the work folder",
        )  # fmt: skip
        known = False
        for line in answer.out.splitlines():
            word, _, rest = line.partition(" ")
            if word == "busy":
                raise DeviceBusy(f"device {self._shell.serial} is in use by another computer, {rest}")
            if word == "unwritable":
                raise self._unwritable(rest)
            if word == "stale":
                self._notify(f"removed {rest}, left on {self._shell.serial} by a run that was killed")
            known = known or word == "known"
        path = f"{self._base}/{STORE}/{binary.sha256}"
        if not known:
            self._push(binary, path, closing)
        self._checked.add(binary.sha256)
        return path

    def _push(self, binary: Binary, path: str, closing: Callable[[], bool]) -> None:
        # Two computers may push the same file; the dot keeps unfinished ones from being pruned or taken.
        partial = f"{path}.{self._computer}"
        source = _Progress(binary, f"pushing the runner to {self._shell.serial}", self._notify, closing)
        self.send(source, partial, binary.size)
        seconds = ASK_SECONDS + binary.size / _SLOWEST_BYTES_PER_SECOND
        accepted = self._shell.run(
            script("accept"), partial, binary.sha256, path, deadline=seconds, what="checking the runner"
        )
        if accepted.status == 3:
            raise DeviceLost(f"the runner arrived on {self._shell.serial} with other contents: {accepted.out.strip()}")
        if accepted.status != 0:
            raise self._unwritable(accepted.words)

    def send(self, source: io.BufferedIOBase, path: str, size: int) -> None:
        """Write a file on the device; raises FolderNotWritable or DeviceFull with the device's words."""
        seconds = ASK_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
        folder = path.rpartition("/")[0]
        try:
            with self._shell.server.deadline(seconds, f"pushing to {self._shell.serial}"):
                self._shell.adb.sync.push(source, path, mode=0o755)
        except CommandTimeout:
            raise
        except HarnessError as error:
            # The protocol tells the reason for a refusal, adbutils drops it.
            if not isinstance(error.__cause__, TROUBLE) or not self._answers():
                raise
            why = self._shell.run(script("why_not"), folder, path, deadline=ASK_SECONDS, what="asking why")
            raise self._refused(why.out, folder, size) or error from error

    def _answers(self) -> bool:
        try:
            return self._shell.run("echo here", deadline=ASK_SECONDS, what="asking").out.strip() == "here"
        except HarnessError:
            return False

    def _refused(self, said: str, folder: str, size: int) -> HarnessError | None:
        lines = said.strip().splitlines()
        refusal = next((line.removeprefix("refused ") for line in lines if line.startswith("refused ")), "")
        if "No space" in refusal:
            return DeviceFull(f"no space left in {folder} on {self._shell.serial}: {refusal}")
        if refusal:
            return self._unwritable(refusal)
        # df: device, size, used, available, percent, place.
        columns = lines[0].split() if lines else []
        free = int(columns[3]) * 1024 if len(columns) > 3 and columns[3].isdigit() else None
        if free is not None and free < size:
            return DeviceFull(f"{folder} on {self._shell.serial} has {free} bytes left, {size} are needed")
        return None

    def _unwritable(self, words: str) -> HarnessError:
        if "No space" in words:
            return DeviceFull(f"no space left on {self._shell.serial}: {words}")
        return FolderNotWritable(f"{self._base} on {self._shell.serial} cannot be written: {words}")


class _Progress(io.BufferedIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, binary: Binary, title: str, notify: Notify, closing: Callable[[], bool]) -> None:
        self._file = binary.path.open("rb")
        self._size = binary.size
        self._title = title
        self._notify = notify
        self._closing = closing
        self._read = 0
        self._next = time.monotonic() + _TELL_SECONDS

    def read(self, _size: int | None = -1, /) -> bytes:
        if self._closing():
            raise EOFError("the device was closed")
        data = self._file.read(_CHUNK)
        self._read += len(data)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_SECONDS
            self._notify(f"{self._title}: {self._read / _TELL_BYTES:.1f} of {self._size / _TELL_BYTES:.1f} MB")
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
