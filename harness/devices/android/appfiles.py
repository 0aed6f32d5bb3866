"""Bring files into an app that may be debugged and out of it, by Android's ``run-as``."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from harness.core.errors import HarnessError
from harness.core.files import replacing
from harness.core.text import shown
from harness.devices.android.sections import without_noise
from harness.devices.android.server import TROUBLE
from harness.devices.android.shell import Shell, Stream, script
from harness.devices.android.store import RunnerStore
from harness.devices.appfiles import MOST_BYTES, AppFilesRefused, too_large
from harness.devices.errors import CommandTimeout, DeviceFull, DeviceLost
from harness.devices.pushing import SLOWEST_BYTES_PER_SECOND

ASK_SECONDS = 30.0
POLL_SECONDS = 0.25
_UNKNOWN = re.compile(r"run-as: .*(unknown package|is unknown|is not installed)")
_NOT_DEBUGGABLE = re.compile(r"run-as: .*not debuggable")


class AppFiles:
    """Copy files by way of ``store``'s device; ``base`` is a folder where the shell may write."""

    def __init__(self, shell: Shell, store: RunnerStore, base: str, name: str) -> None:
        self._shell = shell
        self._store = store
        self._base = base
        self._name = name

    def send(self, app: str, source: Path, name: str) -> None:
        """Write a file in the app's ``files``; see :class:`harness.devices.appfiles.OpensApps`."""
        size = source.stat().st_size
        passed = str(PurePosixPath(self._base) / f"harness-{uuid.uuid4().hex}")
        with source.open("rb") as stream:
            self._store.send(stream, passed, size)
        seconds = ASK_SECONDS + size / SLOWEST_BYTES_PER_SECOND
        what = f"copying {source.name} into {app}"
        answer = self._shell.run(script("app_send"), app, name, passed, deadline=seconds, what=what)
        if answer.status != 0:
            raise self._refused(answer.err or answer.out, app, name)

    def fetch(self, app: str, name: str, target: Path) -> int:
        """Write the app's file to ``target``; see :class:`harness.devices.appfiles.OpensApps`."""
        what = f"fetching {name} of {app}"
        try:
            with (
                replacing(target) as partial,
                partial.open("wb") as stream,
                self._shell.stream(script("app_fetch"), app, name, deadline=ASK_SECONDS, what=what) as arriving,
            ):
                size, status, words = _copied(arriving, stream, what, too_large(name, app))
                if status != 0:
                    raise self._refused(words, app, name)
        except TROUBLE as error:
            raise DeviceLost(f"{self._name} was lost while {what}: {error}") from error
        return size

    def _refused(self, words: str, app: str, name: str) -> HarnessError:
        words = " ".join(without_noise(words).split())
        if _UNKNOWN.search(words):
            return AppFilesRefused(f"{app} is not installed on {self._name}", cure="install it, or correct --app")
        if _NOT_DEBUGGABLE.search(words):
            return AppFilesRefused(f"{app} on {self._name} is a release: nobody may look into its folder")
        if "No space left" in words:
            return DeviceFull(f"{self._name} has no room for {name}")
        if "No such file" in words:
            return AppFilesRefused(f"{app} on {self._name} has no file {name}", cure="let the app call selfTest first")
        return AppFilesRefused(f"{self._name} refused {name} of {app}: {shown(words[:300]) or 'without a word'}")


def _copied(arriving: Stream, stream: BinaryIO, what: str, large: AppFilesRefused) -> tuple[int, int, str]:
    """Write what arrives; return its size, the command's exit status and its words. Raises EOFError, OSError."""
    size, words = 0, b""
    heard = time.monotonic()
    while True:
        output = arriving.read(POLL_SECONDS)
        if output.out or output.err:
            heard = time.monotonic()
        size += len(output.out)
        if size > MOST_BYTES:
            raise large
        stream.write(output.out)
        words = (words + output.err)[:4096]
        if output.status is not None:
            return size, output.status, words.decode(errors="replace")
        if time.monotonic() - heard > ASK_SECONDS:
            raise CommandTimeout(f"{what}: nothing arrived for {ASK_SECONDS:.0f} s")
