"""What can go wrong between the harness and a device. All of it is infrastructure: the run is inconclusive."""

from __future__ import annotations

from harness.errors import HarnessError, UsageError


class DeviceError(HarnessError):
    """Base of the device errors."""


class UnknownDevice(UsageError):
    """No kind of device has that name."""


class DeviceLost(DeviceError):
    """The device was there and no longer answers."""

    cure = "check the cable and the device's screen, then run again; the records that had arrived are kept"


class DeviceBusy(DeviceError):
    """Another run measures on the device and did not finish in time."""

    cure = "wait for the other run to end, or end it, and run again"


class CommandTimeout(DeviceError):
    """A command on the device did not answer within its deadline."""

    cure = "look at the device's load, and run again with more time"


class RunnerUnusable(DeviceError):
    """The runner binary is missing or cannot be executed on this device."""

    cure = "build the runner again for this device's target"


class IncompleteResult(DeviceError):
    """The runner ended, was ended or broke the protocol before its end record."""

    cure = "read the reason; the complete records are kept with the run"
