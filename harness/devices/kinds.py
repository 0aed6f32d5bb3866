"""Kinds of devices: what one brings, and where the installed ones are found."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.options import SERIAL, Command, DeviceOption, SerialName

KINDS = "harness.devices"
"""The entry point group: ``NAME = "package.module:KIND"``, where ``KIND`` is a :class:`DeviceKind` of that name."""


@dataclass(frozen=True)
class Selection:
    """``--device KIND[:WHICH]`` with what else chooses among devices.

    ``which`` is what stands behind the colon; ``serial`` is ``--serial``, or what the kind calls it. ``options`` are
    the values of the kind's own options, by their keys; :meth:`DeviceOption.of` reads one.
    """

    kind: str
    which: str | None = None
    serial: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


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
    forms: str = ""
    """What ``--device`` takes, for help, where it is more than the name: ``android, android:SERIAL or android:all``."""
    serial: SerialName | None = None
    """How ``--serial`` names one of its devices; None where that is refused."""
    options: tuple[DeviceOption, ...] = ()
    """Options of its own."""


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


def device_options(
    kinds: Iterable[DeviceKind], command: Command, *, taken: Collection[str] = ()
) -> dict[str, DeviceOption]:
    """Return what a command offers, by the options' keys: the kinds' serials as one option, then their own options.

    Kinds may share an option. Raises UsageError if two bring different ones of one name, or one of a ``taken`` name.
    """
    kinds = list(kinds)
    found: dict[str, DeviceOption] = {}
    owned = set(taken)
    serial = _serial_option(kinds)
    for option in (*([serial] if serial else ()), *(option for kind in kinds for option in kind.options)):
        if option.key in found and found[option.key] == option:
            continue
        if clashing := [name for name in option.names if name in owned]:
            raise UsageError(
                f"a kind of device brings an option {clashing[0]}, which another has already",
                cure="remove the package that brings it, or let it choose another name",
            )
        owned.update(option.names)
        found[option.key] = option
    return {key: option for key, option in found.items() if command in option.commands}


def _serial_option(kinds: Iterable[DeviceKind]) -> DeviceOption | None:
    """Return one option for the serials of all kinds, under every name that a kind has for it."""
    serials = [kind.serial for kind in kinds if kind.serial is not None]
    names = list(dict.fromkeys([f"--{SERIAL}", *(serial.flag for serial in serials)]))
    text = ", ".join(dict.fromkeys(serial.help for serial in serials))
    return DeviceOption(names[0], text, metavar="S", aliases=tuple(names[1:])) if serials else None
