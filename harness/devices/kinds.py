"""Define a kind of device, and find the installed kinds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.core.options import merged
from harness.core.plugins import entries
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.errors import UnknownDevice
from harness.devices.options import OPENING, SERIAL, Command, DeviceOption, SerialName

KINDS = "harness.devices"
"""The entry point group: ``NAME = "package.module:KIND"``, where ``KIND`` is a :class:`DeviceKind` of that name."""


@dataclass(frozen=True)
class Selection:
    """Hold ``--device KIND[:WHICH]`` and the other choices among devices.

    ``which`` is the text after the colon. ``serial`` is ``--serial``, or the kind's own option for it. ``options`` are
    the values of the kind's own options, by their keys; :meth:`DeviceOption.of` reads one.
    """

    kind: str
    which: str | None = None
    serial: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedDevice:
    """Describe one row of ``harness devices``.

    ``device`` is the value for ``--device``, and ``held_by`` names who measures on it. ``reason`` and ``cure`` are
    empty for a device that can be used.
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
    """Describe one line of ``harness doctor``; ``cure`` is what to do if it is not ``ok``."""

    name: str
    ok: bool
    found: str
    cure: str


Options = Mapping[str, Any]
"""The values of a kind's own options, by their keys; :meth:`DeviceOption.of` reads one."""
DeviceFactory = Callable[[Selection, Cache, Notify], AbstractContextManager[Sequence["Device | Unavailable"]]]


@dataclass(frozen=True)
class DeviceKind:
    """Describe a kind of device that ``--device`` names.

    The module of a kind imports its backend inside of the functions, because most runs need one backend of several.
    """

    name: str
    open: DeviceFactory
    """Opens the selected devices for as long as the context lasts."""
    list_attached: Callable[[Options], Sequence[ListedDevice]]
    """Returns the attached devices, also unusable ones with the reason. Raises HarnessError if nobody can be asked."""
    checks: Callable[[Options], Sequence[Check]] = lambda _options: ()
    """Returns the kind's lines for ``harness doctor``."""
    attaches: bool = False
    """True if its devices come and go; a person may then want to know how to attach one."""
    forms: str = ""
    """The values of ``--device`` for help, if there are more than the name: ``android, android:SERIAL or
    android:all``."""
    serial: SerialName | None = None
    """How ``--serial`` names one of its devices; None if it takes no serial."""
    options: tuple[DeviceOption, ...] = ()
    """The kind's own options."""
    listed_alone: DeviceOption | None = None
    """The switch of ``harness devices`` that lists this kind and no other; None if it is always listed."""

    def chosen(self, given: Options) -> dict[str, Any]:
        """Return the values of the kind's own options among those ``given``; raises UsageError for a wrong value."""
        return {option.key: option.of(given) for option in self.options}


@functools.cache
def device_kinds() -> dict[str, DeviceKind]:
    """Return the kinds that installed packages register, by their names.

    Raises UsageError for an entry point without a kind of its name.
    """
    found: dict[str, DeviceKind] = {}
    for entry in entries(KINDS):
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
    """Return a command's options for devices by their keys: one for the kinds' serials, then the kinds' own.

    Kinds may share an option. Raises UsageError if two kinds have different options of one name, or one of a ``taken``
    name.
    """
    kinds = list(kinds)
    serial = _serial_option(kinds)
    own = (option for kind in kinds for option in kind.options)
    found = merged((*([serial] if serial else ()), *own), "a kind of device", taken=taken)
    return {key: option for key, option in found.items() if command in option.commands}


def _serial_option(kinds: Iterable[DeviceKind]) -> DeviceOption | None:
    """Return one option for the serials of all kinds, under every name that a kind has for it."""
    serials = [kind.serial for kind in kinds if kind.serial is not None]
    names = list(dict.fromkeys([f"--{SERIAL}", *(serial.flag for serial in serials)]))
    text = ", ".join(dict.fromkeys(serial.help for serial in serials))
    if not serials:
        return None
    return DeviceOption(names[0], text, metavar="S", aliases=tuple(names[1:]), commands=(*OPENING, "send", "fetch"))
