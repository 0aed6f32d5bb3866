"""The ways to start an app, by the phone's iOS or by ``--ios-launcher``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from packaging.version import Version

from harness.devices.errors import DeviceError, RunnerUnusable
from harness.devices.ios.errors import DeveloperModeOff, ImageMissing, PhoneLocked
from harness.devices.ios.launchers import appservice, debugserver, dvt
from harness.devices.ios.launchers.started import Ended, Started
from harness.devices.ios.link import TUNNELLED, Link
from harness.devices.ios.options import LauncherName
from harness.errors import HarnessError, UsageError

__all__ = ["Ended", "Launch", "Started", "choose_launcher", "launch_refused"]

Launch = Callable[[Link, str, list[str]], Awaitable[Started]]
"""Starts the app of a bundle id with arguments."""

_LAUNCHERS: dict[LauncherName, Launch] = {
    "appservice": appservice.launch,
    "dvt": dvt.launch,
    "debugserver": debugserver.launch,
}


def choose_launcher(system: Version, wanted: LauncherName | None) -> tuple[LauncherName, Launch]:
    """The one that is ``wanted``, or the best that this iOS has; raises UsageError where it has not the wanted one."""
    if wanted == "appservice" and system < TUNNELLED:
        raise UsageError(
            f"the launcher appservice needs iOS {TUNNELLED}, the phone has {system}", cure="leave out --ios-launcher"
        )
    name = wanted or ("appservice" if system >= TUNNELLED else "dvt")
    return name, _LAUNCHERS[name]


def launch_refused(error: HarnessError, phone: str) -> HarnessError:
    """What a phone's refusal to start an app means; errors that say it already stay."""
    if type(error) is not DeviceError:
        return error
    said = str(error.args[0])
    lower = said.lower()
    if "locked" in lower:
        return PhoneLocked(f"{phone} is locked: {said}")
    if "developer mode" in lower:
        return DeveloperModeOff(f"Developer Mode of {phone} is off: {said}")
    if "invalidservice" in lower or "does not offer" in lower or "failed to start service" in lower:
        return ImageMissing(f"{phone} lacks the service that starts apps: {said}")
    return RunnerUnusable(
        f"{phone} does not start the app: {said}",
        cure="trust the developer: Settings → General → VPN & Device Management; or sign it for this phone",
    )
