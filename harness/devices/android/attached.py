"""What is attached: for ``harness devices``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adbutils import AdbDeviceInfo

from harness.devices.android.choice import listed, unusable
from harness.devices.android.device import device_lock
from harness.devices.android.facts import HARDWARE, hardware_serial, properties_of
from harness.devices.android.sections import last_line, without_noise
from harness.devices.android.server import Server
from harness.devices.android.shell import Shell
from harness.errors import HarnessError

ASK_SECONDS = 5.0
_NAMES = ("ro.product.manufacturer", "ro.product.model", "ro.build.version.release", "ro.build.version.sdk")


@dataclass(frozen=True)
class Attached:
    """One device of the adb server.

    ``state`` is the server's word for it (``device``, ``offline``, ``unauthorized``, ``no`` permissions …).
    ``held_by`` tells who measures on it, None if nobody does. ``reason`` and ``cure`` are empty for a usable device.
    """

    serial: str
    state: str
    model: str | None = None
    android_version: str | None = None
    sdk: str | None = None
    held_by: str | None = None
    reason: str = ""
    cure: str = ""

    @property
    def usable(self) -> bool:
        return not self.reason


def attached_devices(server: Server | None = None, *, lock_folder: Path | None = None) -> list[Attached]:
    """Every device the server knows, usable or not.

    Like ``adb devices`` this starts a server where none runs: without one no phone is ever seen. Raises
    AdbUnavailable or AdbMismatch.
    """
    server = server or Server()
    server.ensure()
    return [_look(server, info, lock_folder) for info in listed(server)]


def _look(server: Server, info: AdbDeviceInfo, lock_folder: Path | None) -> Attached:
    model = info.tags.get("model", "").replace("_", " ") or None
    why = unusable(info)
    if why is None:
        try:
            names = " ".join((*_NAMES, *HARDWARE))
            text = f'for name in {names}; do echo "[$name]: [$(getprop "$name" 2>/dev/null)]"; done'
            answer = Shell(server, info.serial).run(text, deadline=ASK_SECONDS, what="asking its name")
            found = properties_of(without_noise(answer.out))
            maker, name, release, sdk = (last_line(found.get(key, "")) for key in _NAMES)
            hardware = hardware_serial(found) or info.serial
            held_by = device_lock(hardware, lock_folder).holder()
            full = name if name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()
            return Attached(info.serial, info.state, full or model, release or None, sdk or None, held_by)
        except HarnessError as error:
            why = error
    return Attached(info.serial, info.state, model, reason=str(why.args[0]), cure=why.cure)
