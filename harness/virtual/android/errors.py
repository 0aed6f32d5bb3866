"""Define the errors of starting a virtual device."""

from __future__ import annotations

from harness.devices.errors import DeviceError


class VirtualDeviceUnavailable(DeviceError):
    """This machine cannot have a virtual Android device, or it did not start."""

    cure = "docs/virtual-android.md lists what a virtual device needs"
