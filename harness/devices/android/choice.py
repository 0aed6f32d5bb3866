"""Which of the attached devices are meant."""

from __future__ import annotations

import os
import time

from adbutils import AdbDeviceInfo

from harness.devices.android.recovery import connect
from harness.devices.android.server import ASK_SECONDS, Server
from harness.devices.base import Notify, Unavailable
from harness.devices.errors import AmbiguousDevice, DeviceLost, DeviceUnauthorized, NoDevice
from harness.devices.selection import Selection
from harness.errors import HarnessError, UsageError

ALL = "all"
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.25
_PASSING = ("offline", "authorizing", "connecting")
"""States that a device is in for a moment after it was plugged in."""


def choose(
    selection: Selection, server: Server, notify: Notify, *, wait_seconds: float = WAIT_SECONDS
) -> list[str | Unavailable]:
    """The serials that are meant: ``SERIAL``, ``A,B``, ``all``, ``--serial``, ``ANDROID_SERIAL``, or the only one.

    A device that is named is waited for; one of several that does not come is given as unavailable. Raises NoDevice,
    AmbiguousDevice, DeviceUnauthorized, DeviceLost (offline), or UsageError for two contradicting choices.
    """
    if selection.which and selection.serial and selection.which != selection.serial:
        raise UsageError(f"--device names {selection.which}, --serial {selection.serial}", cure="name it once")
    wanted = selection.which or selection.serial or os.environ.get("ANDROID_SERIAL")
    if wanted == ALL:
        return list(_all(server, notify))
    if wanted:
        serials = list(dict.fromkeys(part.strip() for part in wanted.split(",") if part.strip()))
        if len(serials) == 1:
            _await(server, serials[0], notify, wait_seconds)
            return [serials[0]]
        return [_one_of_several(server, serial, notify, wait_seconds) for serial in serials]
    return [_only(server, notify, wait_seconds)]


def _one_of_several(server: Server, serial: str, notify: Notify, seconds: float) -> str | Unavailable:
    try:
        _await(server, serial, notify, seconds)
    except HarnessError as error:
        return Unavailable(serial, error)
    return serial


def unusable(info: AdbDeviceInfo) -> HarnessError | None:
    """Why a device in this state cannot be used, or None."""
    if info.state == "device":
        return None
    if info.state in ("unauthorized", "authorizing"):
        return DeviceUnauthorized(f"device {info.serial} does not allow debugging by this computer yet")
    if info.state.startswith("no"):
        return DeviceUnauthorized(
            f"this user may not reach device {info.serial} over USB",
            cure="let this user reach USB devices (Debian: apt install android-sdk-platform-tools-common), replug it",
        )
    if info.state == "offline":
        return DeviceLost(
            f"device {info.serial} is offline: attached, but silent",
            cure="unplug it and plug it in again; turn its USB debugging off and on if that does not help",
        )
    return DeviceLost(f"device {info.serial} is in the state {info.state!r}", cure="start Android on it")


def listed(server: Server) -> list[AdbDeviceInfo]:
    """Every device the server knows, in whatever state."""
    with server.deadline(ASK_SECONDS, "listing the attached devices"):
        infos: list[AdbDeviceInfo] = server.list(extended=True)
        return infos


def _all(server: Server, notify: Notify) -> list[str]:
    infos = listed(server)
    usable = []
    for info in infos:
        if (why := unusable(info)) is None:
            usable.append(info.serial)
        else:
            notify(f"left out: {why.args[0]}")
    if not usable:
        raise _none(infos)
    return usable


def _only(server: Server, notify: Notify, wait_seconds: float) -> str:
    infos = listed(server)
    ready = [info for info in infos if info.state == "device"]
    if len(ready) > 1:
        names = ", ".join(f"{info.serial} ({info.tags.get('model', 'unknown')})" for info in ready)
        raise AmbiguousDevice(
            f"{len(ready)} devices are attached: {names}",
            cure="choose with --serial SERIAL, ANDROID_SERIAL, --device android:A,B or --device android:all",
        )
    if ready:
        return str(ready[0].serial)
    if len(infos) == 1 and infos[0].state in _PASSING:
        _await(server, infos[0].serial, notify, wait_seconds)
        return str(infos[0].serial)
    raise _none(infos)


def _none(infos: list[AdbDeviceInfo]) -> HarnessError:
    reasons = [why for info in infos if (why := unusable(info))]
    return reasons[0] if reasons else NoDevice("no Android device is attached")


def _await(server: Server, serial: str, notify: Notify, seconds: float) -> None:
    until = time.monotonic() + seconds
    told = False
    connect(server, serial)
    while True:
        infos = listed(server)
        info = next((info for info in infos if info.serial == serial), None)
        why = unusable(info) if info else None
        if info and (why is None or (info.state not in _PASSING)):
            break
        if time.monotonic() >= until:
            break
        if not told:
            notify(f"waiting up to {seconds:.0f} s for the device {serial}")
            told = True
        time.sleep(POLL_SECONDS)
    if info is None:
        known = ", ".join(info.serial for info in infos) or "none"
        raise NoDevice(f"no device {serial} is attached (attached: {known})")
    if why:
        raise why
