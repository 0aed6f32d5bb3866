"""Run one process of the runner on the device: start it, follow it record by record, end it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.devices.android.conditions import SEVERE, THERMAL_NAMES
from harness.devices.android.shell import Shell, script
from harness.devices.collect import MAX_LINE_BYTES, ResultReader

START_SECONDS = 30.0
POLL_SECONDS = 0.2
GUARD_SECONDS = 15
"""The seconds beyond the harness's deadline after which the device ends the runner on its own."""
LOG_TAIL_BYTES = 2000
_RECORD = b'{"record":'
_ALARM = b"harness: thermal status "


@dataclass(frozen=True)
class Watch:
    """Hold the seconds between looks at the device's clocks and at its thermal status during a run."""

    clock_seconds: float = 1.0
    thermal_seconds: float = 5.0
    severe: int = SEVERE
    max_log_bytes: int = 64 * 2**20


@dataclass(frozen=True)
class Ending:
    """Hold how the process ended: on its own with ``status``, or because of ``stopped``; neither if it was lost."""

    status: int | None = None
    stopped: str | None = None
    log: str = ""


class Follower:
    """Follow one process; its output stays readable here when the device is lost."""

    def __init__(self, reader: ResultReader, watch: Watch) -> None:
        self.reader = reader
        self._watch = watch
        self._line = bytearray()
        self._log = b""
        self._noise = 0

    def follow(
        self,
        shell: Shell,
        folder: str,
        command: list[str],
        *,
        mask: str,
        until: float,
        overdue: Callable[[], str | None],
    ) -> Ending:
        """Run ``command`` in ``folder`` until its end, or until ``overdue`` returns a reason to end it.

        ``until`` is when ``overdue`` will return one. A stopped runner may still run when this returns; the caller ends
        it. Raises EOFError or OSError if the device is lost.
        """
        watch = self._watch
        limit = int(max(0.0, until - time.monotonic())) + GUARD_SECONDS
        looks = max(1, round(watch.thermal_seconds / watch.clock_seconds))
        arguments = [folder, str(limit), f"{watch.clock_seconds:g}", str(looks), str(watch.severe), mask, *command]
        with shell.stream(script("run"), *arguments, deadline=START_SECONDS, what="starting the runner") as stream:
            while True:
                output = stream.read(POLL_SECONDS)
                self._take(output.out)
                alarm = self._hear(output.err)
                if output.status is not None:
                    return Ending(output.status, self.reader.fault, self.log)
                stopped = self._stop(alarm) or overdue()
                if stopped:
                    return Ending(None, stopped, self.log)

    @property
    def log(self) -> str:
        """Return the end of its output on stderr."""
        lines = self._log.decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("harness: ")).strip()

    def _stop(self, alarm: int | None) -> str | None:
        if alarm is not None:
            return f"the device's thermal status rose to {THERMAL_NAMES[min(alarm, 6)]} ({alarm}), stopped"
        if self.reader.fault:
            return self.reader.fault
        if self._noise > self._watch.max_log_bytes:
            return f"more than {self._watch.max_log_bytes} bytes on stdout or stderr, killed"
        return None

    def _take(self, data: bytes) -> None:
        """Take output. A record is recognised by its beginning, because libraries print other lines."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            if self._line.startswith(_RECORD):
                self.reader.feed(bytes(self._line) + b"\n")
            else:
                self._noise += len(self._line) + 1
            self._line.clear()
        self._line += rest
        if not self._line.startswith(_RECORD[: len(self._line)]):
            # The rest of a line that is no record is not kept, only the fact that it is none.
            self._noise += len(self._line) - 1
            self._line[:] = b"!"
        elif len(self._line) > MAX_LINE_BYTES:
            self.reader.feed(bytes(self._line))

    def _hear(self, data: bytes) -> int | None:
        self._noise += len(data)
        if not data:
            return None
        self._log = (self._log + data)[-LOG_TAIL_BYTES:]
        at = data.find(_ALARM)
        digit = data[at + len(_ALARM) : at + len(_ALARM) + 1]
        return int(digit) if at >= 0 and digit.isdigit() else None
