"""Waiting for a device that was lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from harness.devices.android.server import Server
from harness.devices.android.shell import Shell
from harness.errors import HarnessError

PAUSE_SECONDS = 0.25
ASK_SECONDS = 5.0
CONNECT_SECONDS = 10.0


def wait_back(shell: Shell, seconds: float, closing: Callable[[], bool]) -> HarnessError | None:
    """None once the device answers commands again; the last error after ``seconds`` without."""
    until = time.monotonic() + seconds
    while True:
        try:
            connect(shell.server, shell.serial)
            shell.run("true", deadline=ASK_SECONDS, what="looking for the device")
            return None
        except HarnessError as error:
            if time.monotonic() > until or closing():
                return error
        time.sleep(PAUSE_SECONDS)


def connect(server: Server, serial: str) -> None:
    """Have the server know a device again that is reached over TCP; it forgets those, but not ones on USB."""
    server.ensure()
    if ":" not in serial:
        return
    with server.deadline(CONNECT_SECONDS, f"connecting to {serial}"):
        states = {info.serial: info.state for info in server.list()}
        if states.get(serial) == "device":
            return
        # A connection that died is kept by the server as offline until it is told to drop it.
        with contextlib.suppress(HarnessError):
            server.disconnect(serial)
        server.connect(serial)
