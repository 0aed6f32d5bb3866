"""Find a device again that was lost."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.devices.android.facts import HARDWARE, hardware_serial, properties_of
from harness.devices.android.listing import listed
from harness.devices.android.sections import without_noise
from harness.devices.android.server import Server
from harness.devices.android.shell import Shell
from harness.devices.errors import DeviceLost

ASK_SECONDS = 5.0
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"(?!usb:|transport_id:|product:|model:|device:)[^\s/]+:\d{1,5}")
"""Matches the name of a device on the network: its host and port."""


def find_again(shell: Shell) -> None:
    """Move the shell to the device's current transport; raises DeviceLost, or another HarnessError, if there is none.

    The device may come back under another transport, in another socket, or over the network instead of by cable. It is
    recognised by its own serial.
    """
    connect(shell.server, shell.adb.place.serial)
    before = shell.adb.place
    ready = [info for info in listed(shell.server) if info.state == "device"]
    here = [info for info in ready if info.transport == before.transport and info.serial == before.serial]
    again = [info for info in ready if (info.serial, info.path) == (before.serial, before.path) and info not in here]
    elsewhere = [info for info in ready if info not in here and info not in again]
    trouble: HarnessError = DeviceLost(f"{shell.serial} is not attached")
    for info in [*here, *again, *(elsewhere if shell.hardware and not shell.stays else [])]:
        try:
            found = ask_properties(Shell(shell.server, info), HARDWARE, what="looking for the device")
        except HarnessError as error:
            trouble = error
            continue
        if hardware_serial(found) == shell.hardware or (shell.hardware is None and info in (*here, *again)):
            shell.adb.move(info)
            return
    raise trouble


def ask_properties(shell: Shell, names: Sequence[str], *, what: str) -> dict[str, str]:
    """Return these system properties, asked now; raises what Server.deadline does."""
    text = f'for name in {" ".join(names)}; do echo "[$name]: [$(getprop "$name" 2>/dev/null)]"; done'
    return properties_of(without_noise(shell.run(text, deadline=ASK_SECONDS, what=what).out))


def connect(server: Server, serial: str) -> None:
    """Connect the server again to a device that is reached over TCP; the server forgets those, but not ones on USB."""
    server.ensure()
    if not _ADDRESS.fullmatch(serial):
        return
    states = {info.serial: info.state for info in listed(server)}
    if states.get(serial) == "device":
        return
    with server.deadline(CONNECT_SECONDS, f"connecting to {serial}"):
        # The server keeps a dead connection as offline until it is asked to drop it.
        with contextlib.suppress(HarnessError):
            server.disconnect(serial)
        server.connect(serial)
