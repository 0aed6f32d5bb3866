"""Kinds of devices: what one brings, and where the installed ones are found."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice

KINDS = "harness.devices"
"""The entry point group: ``NAME = "package.module:KIND"``, where ``KIND`` is a :class:`DeviceKind` of that name."""


@dataclass(frozen=True)
class Selection:
    """``--device KIND[:WHICH]`` with what else chooses among devices.

    ``which`` is what stands behind the colon; ``serial`` is ``--serial`` or ``--udid``. The rest is for iPhones:
    ``--ios-sign-command``, ``--ios-launcher``, ``--ios-keep-app``.
    """

    kind: str
    which: str | None = None
    serial: str | None = None
    sign_command: str | None = None
    launcher: str | None = None
    keep_app: bool = False


@dataclass(frozen=True)
class ListedDevice:
    """One row of ``harness devices``. ``device`` is what ``--device`` takes, ``held_by`` who measures on it.

    ``reason`` and ``cure`` are empty for a device that can be used.
    """

    device: str
    state: str
    model: str | None = None
    system: str | None = None
    serial: str | None = None
    held_by: str | None = None
    reason: str = ""
    cure: str = ""
    emulated: bool = False

    @property
    def usable(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Check:
    """One line of ``harness doctor``; ``cure`` is what to do if it is not ``ok``."""

    name: str
    ok: bool
    found: str
    cure: str


DeviceFactory = Callable[[Selection, Cache, Notify], AbstractContextManager[Sequence["Device | Unavailable"]]]


@dataclass(frozen=True)
class DeviceKind:
    """A kind of device that ``--device`` names.

    A module that registers one imports its backend inside of the functions: most runs need one backend of several.
    """

    name: str
    open: DeviceFactory
    """Opens the selected devices for as long as the context lasts."""
    list_attached: Callable[[], Sequence[ListedDevice]]
    """Returns what could be opened now, or could not and why. Raises HarnessError where nobody can be asked."""
    checks: Callable[[], Sequence[Check]] = tuple
    """Returns what ``harness doctor`` prints of it."""
    attaches: bool = False
    """Whether its devices come and go, so that a person may want to know how to attach one."""


@functools.cache
def device_kinds() -> dict[str, DeviceKind]:
    """Return the kinds that installed packages register, by their names.

    Raises UsageError for an entry point that holds no kind of its name.
    """
    found: dict[str, DeviceKind] = {}
    for entry in sorted(importlib.metadata.entry_points(group=KINDS), key=lambda entry: entry.name):
        try:
            kind = entry.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the device kind {entry.name} ({entry.value}) cannot be loaded: {error}",
                cure="remove or repair the package that brings it",
            ) from error
        if not isinstance(kind, DeviceKind) or kind.name != entry.name:
            raise UsageError(
                f"{entry.value} is no device kind of the name {entry.name}",
                cure="its package has to register an object of harness.devices.DeviceKind under its own name",
            )
        found[kind.name] = kind
    return found


def known_kind(name: str) -> DeviceKind:
    """Return the kind of that name; raises UnknownDevice naming the known ones."""
    kinds = device_kinds()
    if name not in kinds:
        raise UnknownDevice(f"unknown device {name!r}", cure=f"known kinds of device: {', '.join(sorted(kinds))}")
    return kinds[name]


def refuse_serial(selection: Selection) -> None:
    """Raise UsageError for a serial, where a kind's devices have none."""
    if selection.serial is not None:
        raise UsageError(f"--serial is for phones, not for {selection.kind}", cure="leave it out")
