"""Describe the options that kinds of devices and kinds of workloads bring to commands."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.core.errors import UsageError

_FLAG = re.compile(r"--[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Option:
    """Describe one option, such as ``--ios-launcher``.

    Its value is of ``value``'s type, a truth value for a ``switch``, or a tuple of texts for one that can be given
    ``several`` times.
    """

    flag: str
    help: str
    metavar: str = "X"
    choices: tuple[str, ...] = ()
    default: Any = None
    value: type[str] | type[int] | type[Path] = str
    limits: tuple[int, int] | None = None
    """The least and the largest number."""
    switch: bool = False
    """Whether it takes no value. One whose ``default`` is True is switched off by ``--no-…``."""
    several: bool = False
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if not _FLAG.fullmatch(name):
                raise UsageError(f"{name!r} is no name of an option", cure="write it like --kind-what")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.flag, *self.aliases)

    @property
    def key(self) -> str:
        """Return its name among the values of options."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def off(self) -> str | None:
        """Return the name that switches it off, for a switch that is on by default."""
        return f"--no-{self.flag.removeprefix('--')}" if self.switch and self.default else None

    def of(self, chosen: Mapping[str, Any]) -> Any:
        """Return its value among ``chosen``, or the default; raises UsageError for a wrong value."""
        found = chosen.get(self.key)
        if self.several:
            return (found,) if isinstance(found, str) else tuple(found or ())
        if found is None:
            return bool(self.default) if self.switch else self.default
        if self.switch:
            return self._checked(found, isinstance(found, bool), "true or false")
        if self.choices:
            return self._checked(found, found in self.choices, f"one of {', '.join(self.choices)}")
        if self.value is int:
            least, most = self.limits or (found, found)
            fits = isinstance(found, int) and not isinstance(found, bool) and least <= found <= most
            return self._checked(found, fits, f"a number from {least} to {most}" if self.limits else "a number")
        self._checked(found, isinstance(found, str | self.value), "text")
        return self.value(found)

    def _checked(self, found: Any, good: bool, wanted: str) -> Any:
        if not good:
            raise UsageError(f"{self.flag} is {found!r}", cure=f"give {wanted}")
        return found


Some = TypeVar("Some", bound=Option)


def merged(options: Iterable[Some], what: str, *, taken: Collection[str] = ()) -> dict[str, Some]:
    """Return options by their keys; several kinds may share one that is equal.

    ``what`` names the kinds. Raises UsageError if two have different options of one name, or one of a ``taken`` name.
    """
    found: dict[str, Some] = {}
    owned = set(taken)
    for option in options:
        if option.key in found and found[option.key] == option:
            continue
        if clashing := [name for name in (*option.names, *filter(None, [option.off])) if name in owned]:
            raise UsageError(
                f"{what} brings an option {clashing[0]}, which another has already",
                cure="remove the package that brings it, or let it choose another name",
            )
        owned.update(option.names)
        found[option.key] = option
    return found
