"""Choose among a kind's attached devices, and open them one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from harness.core.errors import HarnessError, UsageError
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.kinds import Selection

ALL = "all"
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.25
_Found = TypeVar("_Found")
_Opened = TypeVar("_Opened", bound=Device)


def wanted(selection: Selection, flag: str) -> str | None:
    """Return the name after the colon or from ``flag``; raises UsageError for two contradicting names."""
    if selection.which and selection.serial and selection.which != selection.serial:
        raise UsageError(f"--device names {selection.which}, {flag} {selection.serial}", cure="name it once")
    return selection.which or selection.serial


def named(names: str, find: Callable[[str], _Found]) -> list[_Found | Unavailable]:
    """Find each of ``A,B``. One of several that is not found is returned as unavailable; a single one raises."""
    several = list(dict.fromkeys(part.strip() for part in names.split(",") if part.strip()))
    if len(several) == 1:
        return [find(several[0])]

    def found(name: str) -> _Found | Unavailable:
        try:
            return find(name)
        except HarnessError as error:
            return Unavailable(name, error)

    return [found(name) for name in several]


def awaited(
    look: Callable[[], _Found | None], seconds: float, notify: Notify, what: Callable[[], str]
) -> _Found | None:
    """Return what ``look`` finds within ``seconds``, or None. The first wait is reported once."""
    until = time.monotonic() + seconds
    announced = False
    while (found := look()) is None and time.monotonic() < until:
        if not announced:
            notify(f"waiting up to {seconds:.0f} s for {what()}")
            announced = True
        time.sleep(POLL_SECONDS)
    return found


def open_each(
    chosen: Iterable[_Found | Unavailable], make: Callable[[_Found], _Opened], label: Callable[[_Found], str]
) -> Iterator[_Opened | Unavailable]:
    """Open the chosen devices; one that cannot be opened does not stop the others. Raises UsageError."""
    for one in chosen:
        if isinstance(one, Unavailable):
            yield one
            continue
        try:
            yield make(one)
        except UsageError:
            raise
        except HarnessError as error:
            yield Unavailable(label(one), error)
