"""Devices that run the runner: deploy, run, collect. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Callable

from harness.devices.base import AnyRecord, Device, RunnerDescription, RunResult
from harness.devices.errors import (
    CommandTimeout,
    DeviceBusy,
    DeviceError,
    DeviceLost,
    IncompleteResult,
    RunnerUnusable,
    UnknownDevice,
)
from harness.devices.host import HostDevice

KINDS: dict[str, Callable[[], Device]] = {"host": HostDevice}


def open_device(spec: str) -> Device:
    """The device of that kind; raises UnknownDevice naming the known ones."""
    try:
        return KINDS[spec]()
    except KeyError:
        known = ", ".join(sorted(KINDS))
        raise UnknownDevice(f"unknown device {spec!r}", cure=f"known kinds of device: {known}") from None


__all__ = [
    "KINDS",
    "AnyRecord",
    "CommandTimeout",
    "Device",
    "DeviceBusy",
    "DeviceError",
    "DeviceLost",
    "HostDevice",
    "IncompleteResult",
    "RunResult",
    "RunnerDescription",
    "RunnerUnusable",
    "UnknownDevice",
    "open_device",
]
