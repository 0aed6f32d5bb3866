"""Keep runners on the device: they are pushed once and found again by their contents; a few are kept."""

from __future__ import annotations

import contextlib
import io
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.cache import hash_file
from harness.core.errors import HarnessError
from harness.devices.android.sections import without_noise
from harness.devices.android.server import TROUBLE
from harness.devices.android.shell import Shell, script
from harness.devices.android.workfolder import STORE, refusal
from harness.devices.base import Notify, OnPush
from harness.devices.errors import CommandTimeout, DeviceLost, RunnerUnusable
from harness.devices.pushing import (
    SLOWEST_BYTES_PER_SECOND,
    LocalFile,
    PushProgress,
    local_file,
    push_lines,
    unreadable,
)

KEPT = 4
ASK_SECONDS = 30.0
VERIFIED_TOUCH, VERIFIED_TIME = "200001010000.00", 946684800
"""The modification time of a verified runner; every later write changes it."""
_CHUNK = 2**16
"""The largest piece of the sync protocol; adbutils asks for less."""


@dataclass(frozen=True)
class Deployed:
    """Describe a runner on the device. One that is not ``verified`` yet has a temporary name."""

    path: str
    binary: LocalFile
    verified: bool


class RunnerStore:
    """Manage the runners below ``base`` on one device.

    A runner that was just pushed has a temporary name. After its first use the device computes its SHA-256. Only then
    does it get that as its name, so that later sessions find it. So every accepted result has a verified runner, and no
    first run waits for the hash before it starts. A runner that was changed or torn since has another size or
    modification time, and is pushed again. ``owner`` ends the temporary names.
    """

    def __init__(self, shell: Shell, base: str, owner: str, notify: Notify) -> None:
        self._shell = shell
        self._folder = f"{base}/{STORE}"
        self._owner = owner
        self._notify = notify
        self._hashes: dict[LocalFile, str] = {}
        self._pending: dict[LocalFile, Deployed] = {}

    def deploy(self, runner: Path, closing: Callable[[], bool], on_push: OnPush | None = None) -> Deployed:
        """Make sure that the runner is on the device.

        ``on_push`` gets the progress of a push; without it a long push is reported in lines. Raises RunnerUnusable (no
        such file), FolderNotWritable, DeviceFull, DeviceLost, CommandTimeout.
        """
        binary = local_file(runner)
        if binary in self._pending:
            return self._pending[binary]
        # Only a runner with the size of a verified one is worth the hash, and mostly there is none.
        stored = self._stored(binary.size)
        try:
            if stored and self._hash(binary) in stored:
                return Deployed(f"{self._folder}/{self._hash(binary)}", binary, verified=True)
            progress = PushProgress(binary.size, on_push or push_lines(self._notify, self._shell.serial), closing)
            source = _Source(runner, progress)
        except OSError as error:
            raise unreadable(runner, error) from error
        path = f"{self._folder}/{uuid.uuid4().hex}.{self._owner}"
        self.send(source, path, binary.size)
        self._pending[binary] = Deployed(path, binary, verified=False)
        return self._pending[binary]

    def verify(self, deployed: Deployed) -> None:
        """Let the device compute the hash of a runner, once; raises DeviceLost if it has other contents."""
        binary = deployed.binary
        if deployed.verified or self._pending.pop(binary, None) is None:
            return
        answer = self._shell.run(
            script("verify"), deployed.path, self._hash(binary), self._folder, VERIFIED_TOUCH, str(KEPT),
            deadline=ASK_SECONDS + binary.size / SLOWEST_BYTES_PER_SECOND, what="verifying the runner",
        )  # fmt: skip
        if answer.status == 3:
            raise DeviceLost(
                f"the runner on {self._shell.serial} has other contents than were pushed: {answer.out.strip()}",
                cure="run again: it is pushed again; if that does not help, look at the cable and the device's storage",
            )
        if answer.status == 5:
            raise RunnerUnusable(
                f"{self._shell.serial} cannot compute a SHA-256: {answer.words[:200]}", cure="use Android 8 or newer"
            )
        if answer.status != 0:
            raise refusal(answer.words, self._folder, self._shell.serial)

    def discard(self, deployed: Deployed) -> None:
        """Remove a runner that was not verified, if the device can be reached; else the next session does."""
        if self._pending.pop(deployed.binary, None) is not None:
            with contextlib.suppress(HarnessError):
                self._shell.run('rm -f "$1"', deployed.path, deadline=ASK_SECONDS, what="removing the runner")

    def discard_all(self) -> None:
        """Remove runners that were pushed and never used."""
        for deployed in list(self._pending.values()):
            self.discard(deployed)

    def _hash(self, binary: LocalFile) -> str:
        if binary not in self._hashes:
            self._hashes[binary] = hash_file(binary.path)
        return self._hashes[binary]

    def send(self, source: io.BufferedIOBase, path: str, size: int) -> None:
        """Write a file on the device; raises FolderNotWritable or DeviceFull with the device's message."""
        seconds = ASK_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        try:
            with self._shell.server.deadline(seconds, f"pushing to {self._shell.serial}"):
                self._shell.adb.sync.push(source, path, mode=0o755)
        except CommandTimeout:
            raise
        except HarnessError as error:
            # The protocol reports the reason for a refusal, but adbutils drops it.
            if not isinstance(error.__cause__, TROUBLE) or not self._answers():
                raise
            folder = path.rpartition("/")[0]
            why = self._shell.run(script("why_not"), folder, path, deadline=ASK_SECONDS, what="asking why")
            raise self._refused(why.out, folder, size) or error from error

    def _stored(self, size: int) -> set[str]:
        """Return the names of the verified runners with so many bytes."""
        answer = self._shell.run(script("stored"), self._folder, deadline=ASK_SECONDS, what="looking for the runner")
        found = [line.split(" ", 2) for line in answer.out.splitlines()]
        wanted = [str(size), str(VERIFIED_TIME)]
        return {parts[2].rpartition("/")[2] for parts in found if len(parts) == 3 and parts[:2] == wanted}

    def _answers(self) -> bool:
        try:
            return self._shell.run("echo here", deadline=ASK_SECONDS, what="asking").out.strip() == "here"
        except HarnessError:
            return False

    def _refused(self, output: str, folder: str, size: int) -> HarnessError | None:
        lines = output.strip().splitlines()
        words = next((line.removeprefix("refused ") for line in lines if line.startswith("refused ")), "")
        free = free_bytes(output)
        if not words and free is not None and free < size:
            words = f"No space left: {free} bytes are free, {size} are needed"
        return refusal(words, folder, self._shell.serial) if words else None


def free_bytes(output: str) -> int | None:
    """Return the free bytes from ``df -k``: the number before the percentage, even if a long name breaks the line."""
    match = re.search(r"\s(\d{1,15})\s+\d{1,3}%\s", without_noise(output))
    return int(match[1]) * 1024 if match else None


class _Source(io.BufferedIOBase):
    """Read a runner, and report how far it was read."""

    def __init__(self, runner: Path, progress: PushProgress) -> None:
        self._file = runner.open("rb", buffering=0)
        self._progress = progress

    def read(self, _size: int | None = -1, /) -> bytes:
        self._progress.go_on()
        data = self._file.read(_CHUNK)
        self._progress.add(len(data))
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
