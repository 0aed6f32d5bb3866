"""Devices that run the runner: deploy, run, collect. Knows nothing of models."""

from harness.devices.base import (
    AnyRecord,
    Device,
    Knob,
    Notify,
    OnPush,
    OnRecord,
    RunnerDescription,
    RunResult,
    Unavailable,
)
from harness.devices.errors import (
    AmbiguousDevice,
    CommandTimeout,
    DeviceBusy,
    DeviceError,
    DeviceFull,
    DeviceLost,
    DeviceNotReady,
    DeviceUnauthorized,
    FolderNotWritable,
    IncompleteResult,
    NoDevice,
    RunnerUnusable,
    UnknownDevice,
)
from harness.devices.host import HostDevice
from harness.devices.selection import Selection, opened, parse_device

__all__ = [
    "AmbiguousDevice",
    "AnyRecord",
    "CommandTimeout",
    "Device",
    "DeviceBusy",
    "DeviceError",
    "DeviceFull",
    "DeviceLost",
    "DeviceNotReady",
    "DeviceUnauthorized",
    "FolderNotWritable",
    "HostDevice",
    "IncompleteResult",
    "Knob",
    "NoDevice",
    "Notify",
    "OnPush",
    "OnRecord",
    "RunResult",
    "RunnerDescription",
    "RunnerUnusable",
    "Selection",
    "Unavailable",
    "UnknownDevice",
    "opened",
    "parse_device",
]
