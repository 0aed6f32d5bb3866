"""Define the options of kinds of devices for the commands that open devices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.core.errors import UsageError

Command = Literal["suites", "nightly", "explain", "send", "fetch", "devices", "doctor"]
OPENING: tuple[Command, ...] = ("suites", "nightly", "explain")
"""The commands that open devices: ``pytest suites`` with ``harness run``, and two commands of ``harness``."""
COMMANDS: tuple[Command, ...] = (*OPENING, "send", "fetch", "devices", "doctor")
"""These, the two of ``harness selftest`` that copy files of an app, and the two that look at what is attached."""
SERIAL = "serial"
"""The key of a device's serial, whatever a kind calls its option."""
_FLAG = re.compile(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class DeviceOption:
    """Describe one option, such as ``--ios-launcher``.

    Its value is text, a truth value for a ``switch``, or a tuple of texts for one that can be given ``several`` times.
    """

    flag: str
    help: str
    metavar: str = "X"
    choices: tuple[str, ...] = ()
    default: str | None = None
    switch: bool = False
    several: bool = False
    commands: tuple[Command, ...] = OPENING
    """The commands that show it."""
    of_run: bool = False
    """True if it concerns what is built for the device; it is then the field ``key`` of a run's options."""
    aliases: tuple[str, ...] = ()
    unattended: str | None = None
    """The value where it is not given and nobody waits for the command, as for a nightly run."""

    def __post_init__(self) -> None:
        for name in self.names:
            if not _FLAG.fullmatch(name):
                raise UsageError(f"{name!r} is no name of an option", cure="write it like --kind-what")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.flag, *self.aliases)

    @property
    def key(self) -> str:
        """Return its name in :attr:`Selection.options`."""
        return self.flag.removeprefix("--").replace("-", "_")

    def of(self, chosen: Mapping[str, Any]) -> Any:
        """Return its value in :attr:`Selection.options`, or the default; raises UsageError for an unknown value."""
        value = chosen.get(self.key)
        if self.several:
            return (value,) if isinstance(value, str) else tuple(value or ())
        if value is None:
            return False if self.switch else self.default
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.flag}: unknown {value!r}", cure=f"choose one of {', '.join(self.choices)}")
        return value


@dataclass(frozen=True)
class SerialName:
    """Describe the option that names one of a kind's devices, in addition to ``--serial``, and its help."""

    help: str
    flag: str = f"--{SERIAL}"
