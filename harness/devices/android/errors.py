"""Define the errors of the adb server itself, before any device."""

from __future__ import annotations

from harness.devices.errors import DeviceError


class AdbUnavailable(DeviceError):
    """No adb server answers, and none could be started."""

    cure = "start one with `adb start-server`, or install Android's platform tools; `harness doctor` looks at both"


class AdbMismatch(DeviceError):
    """The program on the adb server's port is no adb server, or one of another version."""

    cure = "end it with `adb kill-server`, keep one version of adb in PATH, and run again"


class InstallRefused(DeviceError):
    """The phone does not install the app of ``--android-mode app``."""

    cure = "read the phone's reason; `--android-mode shell` installs nothing"


class AppNotStarted(DeviceError):
    """The app was installed, and does not come to the foreground, or ends at once."""

    cure = "look at the phone's screen and at `adb logcat -b crash -d`; `--android-mode shell` needs no app"


class DeviceLocked(DeviceError):
    """The phone asks for a PIN, so that no app can be seen."""

    cure = "unlock the phone, turn its screen lock off for the measurement, and run again"
