"""Define the errors of the adb server itself, before any device."""

from __future__ import annotations

from harness.devices.errors import DeviceError


class AdbUnavailable(DeviceError):
    """No adb server answers, and none could be started."""

    cure = "start one with `adb start-server`, or install Android's platform tools; `harness doctor` looks at both"


class AdbMismatch(DeviceError):
    """The program on the adb server's port is no adb server, or one of another version."""

    cure = "end it with `adb kill-server`, keep one version of adb in PATH, and run again"
