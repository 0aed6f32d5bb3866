"""Run on Android devices over adb. The device side is shell scripts in the folder ``scripts``."""

from harness.devices.android.attached import Attached, attached_devices
from harness.devices.android.checks import adb_checks
from harness.devices.android.device import AndroidDevice
from harness.devices.android.errors import AdbMismatch, AdbUnavailable
from harness.devices.android.options import AndroidOptions
from harness.devices.android.running import Watch
from harness.devices.android.server import Server

__all__ = [
    "AdbMismatch",
    "AdbUnavailable",
    "AndroidDevice",
    "AndroidOptions",
    "Attached",
    "Server",
    "Watch",
    "adb_checks",
    "attached_devices",
]
