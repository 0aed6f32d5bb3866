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
from harness.devices.kinds import Check, DeviceKind, ListedDevice, Selection, device_kinds
from harness.devices.selection import opened, parse_device

__all__ = [
    "AmbiguousDevice",
    "AnyRecord",
    "Check",
    "CommandTimeout",
    "Device",
    "DeviceBusy",
    "DeviceError",
    "DeviceFull",
    "DeviceKind",
    "DeviceLost",
    "DeviceNotReady",
    "DeviceUnauthorized",
    "FolderNotWritable",
    "HostDevice",
    "IncompleteResult",
    "Knob",
    "ListedDevice",
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
    "device_kinds",
    "opened",
    "parse_device",
]
