"""Define how the runner runs on an Android device: as adb's user in a shell, or as an app in the foreground."""

from __future__ import annotations

from typing import Literal

from harness.devices.options import DeviceOption

Mode = Literal["shell", "app"]
MODES: tuple[Mode, ...] = ("shell", "app")
AS_APP = ", app"
"""The end of the name of a device that runs apps."""
MODE = DeviceOption(
    "--android-mode",
    "how the runner runs on Android: shell, as adb's user; app, as an app in the foreground, installed for the run",
    metavar="M",
    choices=MODES,
    default="shell",
)
