"""Make phones for a demonstration: programs of this machine under a phone's name.

They are not emulators: their times are this machine's own. Only one of them runs an order at a time, since all share
its cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.devices.base import DEFAULT_DEADLINE, Device, Notify, OnRecord, RunResult, silent
from harness.devices.host import HostDevice
from harness.devices.kinds import DeviceKind, ListedDevice, Options, Selection
from harness.devices.lock import DeviceLock
from harness.protocol.schema import WorkOrder

KIND = "demo"


class DemoPhone(HostDevice):
    """Pretend to be a phone of a host; ``folder`` keeps its lock, and one for all of them."""

    kind = KIND

    def __init__(self, host: str, number: int, folder: Path) -> None:
        self.serial = f"{KIND}-{number}"
        self.name = f"demo phone {host} {number}"
        super().__init__(lock_folder=folder)
        self._turn = DeviceLock("all demo phones", folder)

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "serial": self.serial, "model": "Demo phone"}

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = DEFAULT_DEADLINE,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        with self._turn.hold(wait_seconds=deadline, notify=silent):
            return super().run(runner, order, workdir, deadline, on_record)


def demo_kind(host: str, folder: Path) -> DeviceKind:
    """Return the kind ``demo:N``, which opens N phones of a host."""

    @contextmanager
    def open_phones(selection: Selection, _cache: Cache, _notify: Notify) -> Iterator[list[Device]]:
        which = selection.which or "2"
        if not which.isdecimal() or not 1 <= int(which) <= 100:
            raise UsageError(f"{KIND}:{which} is no number of phones", cure=f"write {KIND}:2")
        yield [DemoPhone(host, number, folder) for number in range(1, int(which) + 1)]

    def listed(_options: Options) -> list[ListedDevice]:
        return []

    return DeviceKind(KIND, open_phones, listed)
