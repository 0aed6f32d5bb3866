"""Define the options of kinds of devices for the commands that open devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.core.options import Option

Command = Literal["suites", "nightly", "explain", "send", "fetch", "devices", "doctor"]
OPENING: tuple[Command, ...] = ("suites", "nightly", "explain")
"""The commands that open devices: ``pytest suites`` with ``harness run``, and two commands of ``harness``."""
COMMANDS: tuple[Command, ...] = (*OPENING, "send", "fetch", "devices", "doctor")
"""These, the two of ``harness selftest`` that copy files of an app, and the two that look at what is attached."""
SERIAL = "serial"
"""The key of a device's serial, whatever a kind calls its option."""


@dataclass(frozen=True)
class DeviceOption(Option):
    """Describe one option, such as ``--ios-launcher``. Its value is in :attr:`Selection.options`."""

    commands: tuple[Command, ...] = OPENING
    """The commands that show it."""
    of_run: bool = False
    """True if it concerns what is built for the device; it is then the field ``key`` of a run's options."""
    unattended: str | None = None
    """The value where it is not given and nobody waits for the command, as for a nightly run."""


@dataclass(frozen=True)
class SerialName:
    """Describe the option that names one of a kind's devices, in addition to ``--serial``, and its help."""

    help: str
    flag: str = f"--{SERIAL}"
