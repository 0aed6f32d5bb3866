"""Define the errors between the harness and a device. All are infrastructure: the run is inconclusive."""

from __future__ import annotations

from harness.core.errors import HarnessError, UsageError


class DeviceError(HarnessError):
    """Base of the device errors."""


class UnknownDevice(UsageError):
    """No kind of device has that name."""


class NoDevice(DeviceError):
    """No device of the wanted kind is attached."""

    cure = "attach one, or see `harness devices`"


class AmbiguousDevice(UsageError):
    """Several devices are attached and none was chosen."""


class DeviceUnauthorized(DeviceError):
    """The device does not trust this machine yet."""

    cure = "unlock the device and allow debugging by this computer"


class DeviceNotReady(DeviceError):
    """The device is too hot, too empty or otherwise in no state to be measured."""

    cure = "let it cool and charge, then run again"


class DeviceFull(DeviceError):
    """The device has no room for the runner or its result."""

    cure = "free some space on the device, then run again"


class FolderNotWritable(DeviceError):
    """The work folder on the device cannot be made or written."""

    cure = "name another folder, or look at the permissions of the one named"


class DeviceLost(DeviceError):
    """The device was there but no longer answers."""

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
