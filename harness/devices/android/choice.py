"""Choose which of the attached devices are used."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.devices.android.address import parse_server
from harness.devices.android.listing import Listed, distinct_name, listed_at
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


Chosen = tuple[Server, Listed]
"""A transport with its server."""


def choose(
    selection: Selection, servers: Sequence[Server], notify: Notify, *, wait_seconds: float = WAIT_SECONDS
) -> list[Chosen | Unavailable]:
    """Return the selected transports: ``SERIAL``, ``A,B``, ``all``, ``--serial``, ``ANDROID_SERIAL``, or the only one.

    A device has the names that ``adb -s`` takes, or ``transport_id:N``; ``NAME@HOST:PORT`` is the one of that name at
    one of several servers. The function waits for a named device; if one
    of several does not come, it is returned as unavailable. Raises NoDevice, AmbiguousDevice, DeviceUnauthorized,
    DeviceLost (offline), or UsageError for two contradicting choices.
    """
    names = wanted(selection, "--serial") or os.environ.get("ANDROID_SERIAL")
    if names == ALL:
        return list(_all(servers, notify, wait_seconds))
    if names:
        return named(names, lambda name: _await(servers, name, notify, wait_seconds))
    return [_only(servers, notify, wait_seconds)]


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


def _all(servers: Sequence[Server], notify: Notify, seconds: float) -> list[Chosen]:
    found = _settled(servers, notify, seconds)
    usable = []
    for server, info in found:
        if (why := unusable(info)) is None:
            usable.append((server, info))
        else:
            notify(f"left out: {why.args[0]}")
    if not usable:
        raise _none(_places(found))
    return usable


def _only(servers: Sequence[Server], notify: Notify, seconds: float) -> Chosen:
    found = _phones(servers)
    if not any(info.state == "device" for _, info in found):
        found = _settled(servers, notify, seconds)
    ready = [(server, info) for server, info in found if info.state == "device"]
    if len(ready) > 1:
        infos = _places(found)
        names = ", ".join(f"{distinct_name(info, infos)} ({info.model or 'unknown'})" for _, info in ready)
        raise AmbiguousDevice(
            f"{len(ready)} devices are attached: {names}",
            cure="choose with --serial SERIAL, ANDROID_SERIAL, --device android:A,B or --device android:all",
        )
    if not ready:
        raise _none(_places(found))
    return ready[0]


def _phones(servers: Sequence[Server]) -> list[Chosen]:
    """Return the attached devices; a computer that debugs others itself is not one."""
    return [(server, info) for server, info in listed_at(servers) if info.state != "host"]


def _places(found: Sequence[Chosen]) -> list[Listed]:
    return [info for _, info in found]


def _settled(servers: Sequence[Server], notify: Notify, seconds: float) -> list[Chosen]:
    """Return the attached devices once no device is in a passing state, or after ``seconds``."""

    found: list[Chosen] = []

    def look() -> bool | None:
        found[:] = _phones(servers)
        return None if _passing(found) else True

    awaited(look, seconds, notify, lambda: ", ".join(f"{i.label} ({i.state})" for _, i in _passing(found)))
    return found


def _passing(found: Sequence[Chosen]) -> list[Chosen]:
    return [(server, info) for server, info in found if info.state in _PASSING]


def _none(infos: list[Listed]) -> HarnessError:
    reasons = [why for info in infos if (why := unusable(info))]
    return reasons[0] if reasons else NoDevice("no Android device is attached")


def _await(servers: Sequence[Server], name: str, notify: Notify, seconds: float) -> Chosen:
    mine, name = _meant(servers, name)
    if len(servers) == 1 or not any(server in mine and info.is_called(name) for server, info in _phones(servers)):
        connect(mine[0], name)
    found: list[Chosen] = []
    called: list[Chosen] = []
    ready: list[Chosen] = []

    def look() -> bool | None:
        found[:] = _phones(servers)
        called[:] = [(server, info) for server, info in found if server in mine and info.is_called(name)]
        ready[:] = [(server, info) for server, info in called if info.state == "device"]
        return bool(ready or (called and not _passing(called))) or None

    awaited(look, seconds, notify, lambda: f"the device {name}")
    if len(ready) > 1:
        apart = ", ".join(distinct_name(info, _places(found)) for _, info in ready)
        raise AmbiguousDevice(f"{len(ready)} devices are called {name}", cure=f"name one of {apart}")
    if ready:
        return ready[0]
    if called:
        raise _none(_places(called))
    known = ", ".join(info.label for _, info in found) or "none"
    raise NoDevice(f"no device {name} is attached (attached: {known})")


def _meant(servers: Sequence[Server], name: str) -> tuple[Sequence[Server], str]:
    """Return the servers on which to look for a device, and its name there. Raises NoDevice for an unused server."""
    bare, separator, at = name.rpartition("@")
    if not (bare and separator) or any(info.is_called(name) and not info.at for _, info in _phones(servers)):
        return servers, name
    wanted_at = parse_server(at, f"the server of {name}").name
    mine = [server for server in servers if server.address.name == wanted_at]
    if not mine:
        used = ", ".join(server.address.name for server in servers)
        raise NoDevice(f"{name}: no adb server {wanted_at} is used (used: {used})", cure="name it in --adb-server")
    return mine, bare
