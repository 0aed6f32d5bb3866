"""List attached devices for ``harness devices``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.devices.android.address import server_addresses
from harness.devices.android.choice import unusable
from harness.devices.android.device import device_lock
from harness.devices.android.facts import HARDWARE, hardware_serial
from harness.devices.android.listing import Listed, distinct_name, identity, listed
from harness.devices.android.recovery import ask_properties
from harness.devices.android.sections import last_line
from harness.devices.android.server import Server
from harness.devices.android.shell import Shell

_NAMES = ("ro.product.manufacturer", "ro.product.model", "ro.build.version.release", "ro.build.version.sdk")


@dataclass(frozen=True)
class Attached:
    """Describe one transport of the adb server.

    ``serial`` is the name for ``--device android:``: adb's serial, else the place where it is plugged in. ``state`` is
    the server's word (``device``, ``offline``, ``unauthorized``, ``no permissions`` …), ``connection`` is ``usb`` or
    ``network``, speeds are in megabits a second. ``held_by`` names who measures on it, None if nobody does. ``reason``
    and ``cure`` are empty for a usable device.
    """

    serial: str
    state: str
    model: str | None = None
    android_version: str | None = None
    sdk: str | None = None
    held_by: str | None = None
    reason: str = ""
    cure: str = ""
    transport: int | None = None
    path: str | None = None
    connection: str | None = None
    speed: int | None = None
    most_speed: int | None = None
    hardware: str | None = None
    """The phone's own serial, the same by cable and over Wi-Fi."""

    @property
    def usable(self) -> bool:
        return not self.reason


def attached_devices(*given: Server, lock_folder: Path | None = None) -> list[Attached]:
    """Return every device of these servers, usable or not; without one, of all that are used (``address.py``).

    Like ``adb devices`` this starts a server if none runs, because without a server no phone is ever seen. One of
    several servers that cannot be used has a row instead of its devices. Raises AdbUnavailable or AdbMismatch if
    there is only one.
    """
    servers = given or [Server(address=address) for address in server_addresses()]
    if len(servers) == 1:
        return attached_at(servers[0], lock_folder=lock_folder)
    found: list[Attached] = []
    for one in servers:
        at = one.address.name
        try:
            found += attached_at(one, at, lock_folder=lock_folder)
        except HarnessError as error:
            found.append(Attached(f"@{at}", "no server", reason=str(error.args[0]), cure=error.cure))
    return found


def attached_at(server: Server, at: str = "", *, lock_folder: Path | None = None) -> list[Attached]:
    """Return every device of one server; ``at`` is the server's name if several are used."""
    server.ensure()
    known = [replace(place, at=at) for place in listed(server)]
    return [_look(server, place, known, lock_folder) for place in known if place.state != "host"]


def _look(server: Server, place: Listed, known: list[Listed], lock_folder: Path | None) -> Attached:
    seen = Attached(
        distinct_name(place, known),
        place.state,
        place.model.replace("_", " ") or None,
        transport=place.transport,
        path=place.path or None,
        connection=place.connection or None,
        speed=place.speed,
        most_speed=place.most_speed,
    )
    why = unusable(place)
    if why is None:
        try:
            return _asked(server, place, known, seen, lock_folder)
        except HarnessError as error:
            why = error
    return replace(seen, reason=str(why.args[0]), cure=why.cure)


def _asked(server: Server, place: Listed, known: list[Listed], seen: Attached, lock_folder: Path | None) -> Attached:
    found = ask_properties(Shell(server, place), (*_NAMES, *HARDWARE), what="asking its name")
    maker, name, release, sdk = (last_line(found.get(key, "")) for key in _NAMES)
    hardware = hardware_serial(found)
    full = name if name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()
    return replace(
        seen,
        model=full or seen.model,
        android_version=release or None,
        sdk=sdk or None,
        held_by=device_lock(identity(hardware, place, known, server.address), lock_folder).holder(),
        hardware=hardware,
    )
