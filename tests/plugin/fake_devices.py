"""``--device shelf``: devices made of this machine, by name; ``lost-…`` are gone, ``emulated-…`` are emulators."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.cache import Cache
from harness.devices import Device, DeviceLost, HostDevice, Notify, Selection
from harness.devices.lock import DeviceLock
from harness.devices.selection import OPENERS

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
def _shelf(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
    yield [ShelfDevice(name) for name in (selection.which or "red").split(",")]


OPENERS["shelf"] = _shelf
