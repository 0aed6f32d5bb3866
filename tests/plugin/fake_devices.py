"""``--device shelf``: devices made of this machine, by name; ``lost-…`` are gone, ``emulated-…`` are emulators,
``absent-…`` cannot be opened, and opening ``slow-…`` takes a minute."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.cache import Cache
from harness.devices import Device, DeviceLost, HostDevice, NoDevice, Notify, Selection, Unavailable
from harness.devices.kinds import DeviceKind, device_kinds
from harness.devices.lock import DeviceLock

INSTALL = "import tests.plugin.fake_devices\n"


class ShelfDevice(HostDevice):
    kind = "shelf"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.emulated = name.startswith("emulated")
        self._lock = DeviceLock(name, Path(tempfile.gettempdir()) / "locks")

    def facts(self) -> dict[str, Any]:
        if self.name.startswith("lost"):
            raise DeviceLost(f"device {self.name} is gone")
        return super().facts()


@contextmanager
def _shelf(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device | Unavailable]]:
    names = (selection.which or "red").split(",")
    if any(name.startswith("slow") for name in names):
        Path("opening").touch()
        time.sleep(60)
    yield [
        Unavailable(name, NoDevice(f"no device {name} is on the shelf"))
        if name.startswith("absent")
        else ShelfDevice(name)
        for name in names
    ]


device_kinds()["shelf"] = DeviceKind("shelf", _shelf, lambda _options: [])
