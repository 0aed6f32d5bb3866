"""Open the devices of ``--device ios``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from harness.core.cache import Cache
from harness.devices.base import Device, Notify, Unavailable
from harness.devices.choosing import open_each
from harness.devices.ios.choice import choose
from harness.devices.ios.device import IosDevice
from harness.devices.ios.loop import LoopThread, loop_thread
from harness.devices.ios.options import KEEP_APP, LAUNCHER, IosOptions, Way
from harness.devices.ios.signing import signing_of
from harness.devices.kinds import Selection


@contextmanager
def ios(selection: Selection, cache: Cache, notify: Notify) -> Iterator[list[Device | Unavailable]]:
    """Open ``ios``, ``ios:UDID``, ``ios:A,B`` or ``ios:all``."""
    way, options = Way(), replace(options_of(selection), signing=signing_of(selection, cache, notify))
    with loop_thread() as loop:
        yield open_all(loop, choose(selection, loop, way, notify), way, options, notify)


def options_of(selection: Selection) -> IosOptions:
    """Return the options that the kind's own options choose; raises UsageError for an unknown launcher."""
    chosen = selection.options
    return IosOptions(launcher=LAUNCHER.of(chosen), keep_app=KEEP_APP.of(chosen))


def open_all(
    loop: LoopThread, chosen: Sequence[str | Unavailable], way: Way, options: IosOptions, notify: Notify
) -> list[Device | Unavailable]:
    """Open a device for each UDID; one that cannot be opened does not stop the others."""
    return list(
        open_each(chosen, lambda udid: IosDevice(loop, udid, way, options=options, notify=notify), lambda udid: udid)
    )
