"""Provide devices that run the runner: deploy, run, collect. This room does not depend on models."""

from harness.devices.appfiles import OpensApps
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
from harness.devices.kinds import Check, DeviceKind, ListedDevice, Selection, device_kinds, device_options
from harness.devices.options import DeviceOption, SerialName
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
    "DeviceOption",
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
    "OpensApps",
    "RunResult",
    "RunnerDescription",
    "RunnerUnusable",
    "Selection",
    "SerialName",
    "Unavailable",
    "UnknownDevice",
    "device_kinds",
    "device_options",
    "opened",
    "parse_device",
]
