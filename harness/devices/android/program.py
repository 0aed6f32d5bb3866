"""Bring a runner onto a device for one use, as the mode wants it: as a file for the shell, or as an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.devices.android.store import Deployed, RunnerStore
from harness.protocol.schema import WorkOrder

if TYPE_CHECKING:
    from harness.devices.android.app import Apps
    from harness.native.android import App


class Program(Protocol):
    """Provide a runner on the device."""

    @property
    def path(self) -> str:
        """Return the runner's file in the store, empty if it is none."""
        ...

    def shell_mask(self, mask: str) -> str:
        """Return the mask of cores that the shell sets; empty if the program sets its own."""
        ...

    def command(self, mask: str, order: WorkOrder | None) -> list[str]:
        """Return what runs it in a work folder; the runner's arguments follow. Raises DeviceLocked."""
        ...

    def verify(self) -> None:
        """Raise an error if the device holds other contents than were brought there."""
        ...


@dataclass(frozen=True)
class ShellProgram:
    """Run a runner of the store; ``launcher`` precedes its command line."""

    store: RunnerStore
    deployed: Deployed
    launcher: tuple[str, ...]

    @property
    def path(self) -> str:
        return self.deployed.path

    def shell_mask(self, mask: str) -> str:
        return mask

    def command(self, mask: str, order: WorkOrder | None) -> list[str]:
        del mask, order
        return [*self.launcher, self.deployed.path]

    def verify(self) -> None:
        self.store.verify(self.deployed)


@dataclass(frozen=True)
class AppProgram:
    """Run a runner as an installed app, whose contents Android has verified."""

    apps: Apps
    app: App

    @property
    def path(self) -> str:
        return ""

    def shell_mask(self, mask: str) -> str:
        """Return none: the shell may not move another user's process. The app pins its own."""
        del mask
        return ""

    def command(self, mask: str, order: WorkOrder | None) -> list[str]:
        self.apps.require_unlocked()
        records = 0 if order is None else len(order.items) * (order.warmup + order.repetitions)
        return self.apps.command(self.app, mask, records)

    def verify(self) -> None:
        return
