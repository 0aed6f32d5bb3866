"""Choose the way to start an app, by the phone's iOS or by ``--ios-launcher``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from packaging.version import Version

from harness.core.errors import HarnessError, UsageError
from harness.devices.errors import DeviceError, RunnerUnusable
from harness.devices.ios.errors import DeveloperModeOff, DeveloperNotTrusted, ImageMissing, PhoneLocked
from harness.devices.ios.launchers import appservice, debugserver, dvt
from harness.devices.ios.launchers.started import Ended, Started
from harness.devices.ios.link import TUNNELLED, Link
from harness.devices.ios.options import LauncherName

__all__ = ["Ended", "Launcher", "Started", "choose_launcher", "launch_refused"]


@dataclass(frozen=True)
class Launcher:
    """Describe a launcher.

    ``launch`` starts the app with a bundle id and arguments. ``end`` ends a process whose launch has been lost.
    ``end_app`` ends an app that another harness has started.
    """

    name: LauncherName
    launch: Callable[[Link, str, list[str]], Awaitable[Started]]
    end: Callable[[Link, int], Awaitable[None]]
    end_app: Callable[[Link, str], Awaitable[bool]]


_LOCKED = re.compile(r"\b(?:locked|unlocked)\b")
"""What a phone writes about its screen; "blocked" is something else."""
_SECURITY = re.compile(r"\bexplicitly trusted\b|\bsecurity\b")
"""What a phone writes about an untrusted developer; debugserver passes on the reason alone."""
_LAUNCHERS = (
    Launcher("appservice", appservice.launch, appservice.end, appservice.end_app),
    Launcher("dvt", dvt.launch, dvt.end, dvt.end_app),
    Launcher("debugserver", debugserver.launch, debugserver.end, dvt.end_app),
)


def choose_launcher(system: Version, wanted: LauncherName | None) -> Launcher:
    """Return the ``wanted`` launcher, or the best one of this iOS.

    Raises UsageError if this iOS does not have the wanted one.
    """
    if wanted == "appservice" and system < TUNNELLED:
        raise UsageError(
            f"the launcher appservice needs iOS {TUNNELLED}, the phone has {system}", cure="leave out --ios-launcher"
        )
    name = wanted or ("appservice" if system >= TUNNELLED else "dvt")
    return next(launcher for launcher in _LAUNCHERS if launcher.name == name)


def launch_refused(error: HarnessError, phone: str) -> HarnessError:
    """Return the error for a phone's refusal to start an app; specific errors stay."""
    if type(error) is not DeviceError:
        return error
    message = str(error.args[0]).partition("launching the app: ")[2] or str(error.args[0])
    lower = message.lower()
    if _LOCKED.search(lower):
        return PhoneLocked(f"{phone} is locked: {message}")
    if "developer mode" in lower:
        return DeveloperModeOff(f"Developer Mode of {phone} is off: {message}")
    if "invalidservice" in lower or "does not offer" in lower or "failed to start service" in lower:
        return ImageMissing(f"{phone} lacks the service that starts apps: {message}")
    if _SECURITY.search(lower):
        return DeveloperNotTrusted(f"{phone} does not start the app: {message}")
    return RunnerUnusable(
        f"{phone} does not start the app: {message}",
        cure="unlock the iPhone, tap the app on its screen, and read what it shows; or try --ios-launcher debugserver",
    )
