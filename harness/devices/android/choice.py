"""Choose which of the attached devices are used."""

from __future__ import annotations

import os

from harness.core.errors import HarnessError
from harness.devices.android.listing import Listed, distinct_name, listed
from harness.devices.android.recovery import connect
from harness.devices.android.server import Server
from harness.devices.base import Notify, Unavailable
from harness.devices.choosing import ALL, WAIT_SECONDS, awaited, named, wanted
from harness.devices.errors import AmbiguousDevice, DeviceLost, DeviceUnauthorized, NoDevice
from harness.devices.kinds import Selection

_PASSING = ("offline", "authorizing", "connecting")
"""States of a device for a moment after it was plugged in."""
_CURES = {
    "detached": "give it back to this adb server: adb attach",
    "recovery": "restart it: adb reboot",
    "rescue": "restart it: adb reboot",
    "sideload": "restart it: adb reboot",
    "bootloader": "restart it: fastboot reboot",
    "connecting": "look whether it is awake and on this network, or plug it in again",
}


def choose(
    selection: Selection, server: Server, notify: Notify, *, wait_seconds: float = WAIT_SECONDS
) -> list[Listed | Unavailable]:
    """Return the selected transports: ``SERIAL``, ``A,B``, ``all``, ``--serial``, ``ANDROID_SERIAL``, or the only one.

    A device has the names that ``adb -s`` takes, or ``transport_id:N``. The function waits for a named device; if one
    of several does not come, it is returned as unavailable. Raises NoDevice, AmbiguousDevice, DeviceUnauthorized,
    DeviceLost (offline), or UsageError for two contradicting choices.
    """
    names = wanted(selection, "--serial") or os.environ.get("ANDROID_SERIAL")
    if names == ALL:
        return list(_all(server, notify, wait_seconds))
    if names:
        return named(names, lambda name: _await(server, name, notify, wait_seconds))
    return [_only(server, notify, wait_seconds)]


def unusable(info: Listed) -> HarnessError | None:
    """Return why a device in this state cannot be used, or None."""
    name = info.label
    if info.state == "device":
        return None
    if info.state in ("unauthorized", "authorizing"):
        return DeviceUnauthorized(f"device {name} does not allow debugging by this computer yet")
    if info.state.startswith("no"):
        return DeviceUnauthorized(
            f"this user may not reach device {name} over USB",
            cure="let this user reach USB devices (Debian: apt install android-sdk-platform-tools-common), replug it",
        )
    if info.state == "offline":
        return DeviceLost(
            f"device {name} is offline: attached, but silent",
            cure="unplug it and plug it in again; turn its USB debugging off and on if that does not help",
        )
    return DeviceLost(
        f"device {name} is in the state {info.state!r}", cure=_CURES.get(info.state, "start Android on it")
    )


def _all(server: Server, notify: Notify, seconds: float) -> list[Listed]:
    infos = _settled(server, notify, seconds)
    usable = []
    for info in infos:
        if (why := unusable(info)) is None:
            usable.append(info)
        else:
            notify(f"left out: {why.args[0]}")
    if not usable:
        raise _none(infos)
    return usable


def _only(server: Server, notify: Notify, seconds: float) -> Listed:
    infos = _phones(server)
    if not any(info.state == "device" for info in infos):
        infos = _settled(server, notify, seconds)
    ready = [info for info in infos if info.state == "device"]
    if len(ready) > 1:
        names = ", ".join(f"{distinct_name(info, infos)} ({info.model or 'unknown'})" for info in ready)
        raise AmbiguousDevice(
            f"{len(ready)} devices are attached: {names}",
            cure="choose with --serial SERIAL, ANDROID_SERIAL, --device android:A,B or --device android:all",
        )
    if not ready:
        raise _none(infos)
    return ready[0]


def _phones(server: Server) -> list[Listed]:
    """Return the attached devices; a computer that debugs others itself is not one."""
    return [info for info in listed(server) if info.state != "host"]


def _settled(server: Server, notify: Notify, seconds: float) -> list[Listed]:
    """Return the attached devices once no device is in a passing state, or after ``seconds``."""

    infos: list[Listed] = []

    def look() -> bool | None:
        infos[:] = _phones(server)
        return None if _passing(infos) else True

    awaited(look, seconds, notify, lambda: ", ".join(f"{i.label} ({i.state})" for i in _passing(infos)))
    return infos


def _passing(infos: list[Listed]) -> list[Listed]:
    return [info for info in infos if info.state in _PASSING]


def _none(infos: list[Listed]) -> HarnessError:
    reasons = [why for info in infos if (why := unusable(info))]
    return reasons[0] if reasons else NoDevice("no Android device is attached")


def _await(server: Server, name: str, notify: Notify, seconds: float) -> Listed:
    connect(server, name)
    infos: list[Listed] = []
    called: list[Listed] = []
    ready: list[Listed] = []

    def look() -> bool | None:
        infos[:] = _phones(server)
        called[:] = [info for info in infos if info.is_called(name)]
        ready[:] = [info for info in called if info.state == "device"]
        return bool(ready or (called and not _passing(called))) or None

    awaited(look, seconds, notify, lambda: f"the device {name}")
    if len(ready) > 1:
        apart = ", ".join(distinct_name(info, infos) for info in ready)
        raise AmbiguousDevice(f"{len(ready)} devices are called {name}", cure=f"name one of {apart}")
    if ready:
        return ready[0]
    if called:
        raise _none(called)
    known = ", ".join(info.label for info in infos) or "none"
    raise NoDevice(f"no device {name} is attached (attached: {known})")
