"""List attached phones for ``harness devices``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.devices.ios.choice import listed
from harness.devices.ios.device import device_lock
from harness.devices.ios.errors import DeveloperModeOff
from harness.devices.ios.explained import TROUBLE, explained
from harness.devices.ios.loop import LoopThread, loop_thread
from harness.devices.ios.options import Way
from harness.devices.ios.pairing import unpaired

ASK_SECONDS = 10.0


@dataclass(frozen=True)
class AttachedPhone:
    """Describe one phone of usbmuxd's.

    ``state`` is ``ready``, ``unpaired`` or ``unusable``. ``reason`` and ``cure`` are empty for a ready one. ``held_by``
    names who measures on it.
    """

    serial: str
    state: str
    connection: str
    model: str | None = None
    ios_version: str | None = None
    held_by: str | None = None
    reason: str = ""
    cure: str = ""

    @property
    def usable(self) -> bool:
        return not self.reason


def attached_iphones(way: Way | None = None, *, lock_folder: Path | None = None) -> list[AttachedPhone]:
    """Return every phone of usbmuxd, usable or not; none is asked to trust this computer.

    Raises UsbmuxUnavailable.
    """
    way = way or Way()
    with loop_thread() as loop:
        return [_look(loop, one.udid, one.connection, way, lock_folder) for one in listed(loop, way)]


def _look(loop: LoopThread, udid: str, connection: str, way: Way, lock_folder: Path | None) -> AttachedPhone:
    held_by = device_lock(udid, lock_folder).holder()
    try:
        state, model, version, why = loop.call(_ask(udid, way), deadline=ASK_SECONDS, what=f"asking iPhone {udid}")
    except HarnessError as error:
        state, model, version, why = "unusable", None, None, error
    reason, cure = (str(why.args[0]), why.cure) if why is not None else ("", "")
    return AttachedPhone(udid, state, connection, model, version, held_by, reason, cure)


async def _ask(udid: str, way: Way) -> tuple[str, str | None, str | None, HarnessError | None]:
    try:
        client = await unpaired(udid, way)
        try:
            model, version = client.display_name or client.product_type, client.product_version
            if not client.paired:
                # This is no obstacle, because opening the phone asks its owner.
                return "unpaired", model, version, None
            if client.has_developer_mode and not await client.get_developer_mode_status():
                return "unusable", model, version, DeveloperModeOff("Developer Mode is off")
            return "ready", model, version, None
        finally:
            await client.close()
    except TROUBLE as error:
        raise explained(error, "opening", f"iPhone {udid}") from error
