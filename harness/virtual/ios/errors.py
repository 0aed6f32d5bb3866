"""Define the errors of running a virtual iPhone."""

from __future__ import annotations

from harness.devices.errors import DeviceError


class VirtualIphoneUnavailable(DeviceError):
    """This machine cannot have a virtual iPhone, it did not start, or it has ended."""

    cure = "docs/virtual-ios.md lists what a virtual iPhone needs"
