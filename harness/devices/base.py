"""Declare what every kind of device can do: describe itself, be held by one run at a time, and run a work order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import HarnessError
from harness.devices.errors import IncompleteResult, RunnerUnusable
from harness.protocol.schema import AnyRecord as AnyRecord
from harness.protocol.schema import Failure, WorkOrder

OnRecord = Callable[[AnyRecord], None]
OnPush = Callable[[int, int], None]
"""Takes the number of bytes that have been pushed to a device, and the total."""
Notify = Callable[[str], None]
"""Takes one line that a waiting person should see."""
DEFAULT_DEADLINE = 600.0
"""Seconds that an order may take."""
DEFAULT_WAIT = 900.0
"""Seconds to wait for a device that somebody else holds."""


def silent(_line: str) -> None:
    """Discard a line; this is the Notify for nobody."""


class RunnerDescription(BaseModel):
    """Describe a runner, as ``device_runner --describe`` prints it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    runner_version: str
    archive_sha256: str
    arch: str
    os: str
    prefixes: list[str]
    cpu_features: list[str] = []
    """The processor features that the compiled kernels need; the runner refuses a processor without one of them."""


def description_of(answer: str | bytes, runner: Path) -> RunnerDescription:
    """Parse a runner's output of ``--describe``; raises RunnerUnusable if it is not a description."""
    try:
        return RunnerDescription.model_validate_json(answer)
    except ValidationError as error:
        raise RunnerUnusable(
            f"{runner.name} --describe did not print a description: {error.errors()[0]['msg']}"
        ) from error


class Knob(BaseModel):
    """Describe one setting of a device that a run wanted for its duration, and its outcome."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    state: Literal["applied", "unsupported", "denied"]
    detail: str = ""
    """The value that was set, or the device's reason for refusing."""
    restored: bool | None = None
    """True if the value from before is back; None if nothing was changed."""


@dataclass(frozen=True)
class RunResult:
    """Hold everything that arrived from one run of the runner.

    ``complete`` is true only if the end record of this order arrived with status ok and nothing that the order asked
    for is missing. Otherwise ``reason`` states why in one line for a person.
    """

    order_id: str
    records: tuple[AnyRecord, ...]
    complete: bool
    reason: str | None = None
    failure: Failure | None = None
    """The error the runner itself reported, if it did."""
    exit_status: int | None = None
    """The process's exit status, negative for a signal; None if it did not end on its own."""
    wall_seconds: float = 0.0
    knobs: tuple[Knob, ...] = ()
    observed: dict[str, Any] = field(default_factory=dict)
    """Observations of the device during the run, such as its clocks. JSON values only."""
    resumed: int = 0
    """How often the run was resumed after the device was lost and came back."""

    def require_complete(self) -> RunResult:
        """Return this result; raises IncompleteResult with the reason if it is not complete."""
        if not self.complete:
            raise IncompleteResult(f"order {self.order_id} is incomplete: {self.reason}")
        return self


@dataclass(frozen=True)
class Unavailable:
    """Describe a device that was asked for by ``name`` and cannot be opened."""

    name: str
    error: HarnessError


class Device(Protocol):
    """Use a machine that can run the device runner."""

    @property
    def name(self) -> str:
        """Return the name that is unique among devices of this kind; ``host`` for this machine."""
        ...

    @property
    def kind(self) -> str:
        """Return the kind, as ``--device`` takes it."""
        ...

    @property
    def target(self) -> str:
        """Return the compile target for this device; see harness.compiler.targets."""
        ...

    @property
    def companion(self) -> str | None:
        """Return the compile target of a companion archive, or None if there is none.

        The companion runs instead of an app whose own code cannot run on this device.
        """
        ...

    @property
    def emulated(self) -> bool:
        """Return whether its times are an emulator's: they are labelled and never compared with anything."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return the device's facts: processor, cores, memory, system. JSON values only."""
        ...

    def conditions(self) -> dict[str, Any]:
        """Return what changes from run to run: load, clocks, temperatures. JSON values only."""
        ...

    def reserve(self, *, wait_seconds: float = ..., notify: Notify = ...) -> AbstractContextManager[None]:
        """Hold the device alone; raises DeviceBusy after ``wait_seconds``. Re-entrant for one Device object."""
        ...

    def settle(self, *, wait_seconds: float = ..., notify: Notify = ...) -> None:
        """Wait until the device is cool and charged enough to be measured, and report why.

        Raises DeviceNotReady after ``wait_seconds``. If nothing is known about it, there is no waiting.
        """
        ...

    def deploy(self, runner: Path, *, on_push: OnPush | None = ...) -> str:
        """Make sure that the runner is on the device, and return its path there.

        Describing and running do that themselves. Raises RunnerUnusable (no such file), DeviceBusy, DeviceFull,
        FolderNotWritable, DeviceLost, CommandTimeout.
        """
        ...

    def describe(self, runner: Path, *, deadline: float = ...) -> RunnerDescription:
        """Ask the runner for its description; raises RunnerUnusable or CommandTimeout."""
        ...

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = ...,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        """Deploy, run and collect one order within ``deadline`` seconds, calling ``on_record`` as records arrive.

        A runner that crashes, hangs or breaks the protocol gives an incomplete result, not an exception.
        Raises RunnerUnusable if it cannot be started, DeviceBusy, DeviceLost.
        """
        ...

    def stop(self) -> None:
        """Make a run in progress end soon. This returns at once and may be called from any thread."""
        ...

    def close(self) -> None:
        """Close the connection, and remove everything left on the device; may be called again."""
        ...


@runtime_checkable
class Rearms(Protocol):
    """Use a device again after :meth:`Device.stop`: an agent of a lab stops one client's order and serves the next.

    A device without this is closed and opened again instead.
    """

    def rearm(self) -> None:
        """Let orders run again. The caller has waited until no order runs any more."""
        ...
