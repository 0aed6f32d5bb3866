"""This machine as the scenarios' device, and whatever kind runs its runners as processes of this machine."""

from __future__ import annotations

from pathlib import Path

from harness.conformance.processes import LocalBench
from harness.devices.host import MAX_LOG_BYTES, HostDevice


class HostBench(LocalBench):
    """A kind that derives from HostDevice names its class here."""

    device_class = HostDevice

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.workdir = folder / "work"
        self.workdir.mkdir()

    def open(self, *, max_log_bytes: int | None = None) -> HostDevice:
        device = self.device_class(lock_folder=self.locks)
        device._max_log_bytes = max_log_bytes or MAX_LOG_BYTES
        return self.keep(device)

    def opening(self) -> str:
        kind = self.device_class
        return (
            "import pathlib\n"
            f"from {kind.__module__} import {kind.__name__}\n"
            f"device = {kind.__name__}(lock_folder=pathlib.Path({str(self.locks)!r}))\n"
        )

    def assert_clean(self) -> None:
        self.assert_no_process()
        assert self.workdir is not None
        assert list(self.workdir.iterdir()) == []
        assert not list(self.locks.glob("*.runner")), "a note of a runner that runs no more"
