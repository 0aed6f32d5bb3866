"""What every kind of device can do: say what it is, be held by one run at a time, and run a work order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import HarnessError
from harness.devices.errors import IncompleteResult, RunnerUnusable
from harness.protocol.schema import AnyRecord as AnyRecord
from harness.protocol.schema import Failure, WorkOrder

OnRecord = Callable[[AnyRecord], None]
OnPush = Callable[[int, int], None]
"""Takes the bytes that have been pushed to a device, and how many there are."""
Notify = Callable[[str], None]
"""Takes one line that a waiting person should see."""
DEFAULT_DEADLINE = 600.0
"""Seconds that an order may take."""
DEFAULT_WAIT = 900.0
"""Seconds to wait for a device that somebody else holds."""


def silent(_line: str) -> None:
    """The Notify that tells nobody."""


class RunnerDescription(BaseModel):
    """What ``device_runner --describe`` says about itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    runner_version: str
    archive_sha256: str
    arch: str
    os: str
    prefixes: list[str]
    cpu_features: list[str] = []
    """What the compiled kernels need of the processor; the runner refuses one that lacks any."""


def description_of(said: str | bytes, runner: Path) -> RunnerDescription:
    """What a runner printed for ``--describe``; raises RunnerUnusable if that is no description."""
    try:
        return RunnerDescription.model_validate_json(said)
    except ValidationError as error:
        raise RunnerUnusable(
            f"{runner.name} --describe did not print a description: {error.errors()[0]['msg']}"
        ) from error


class Knob(BaseModel):
    """One setting of a device that a run wanted for its duration, and what became of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    state: Literal["applied", "unsupported", "denied"]
    detail: str = ""
    """The value that was set, or the device's own words for why not."""
    restored: bool | None = None
    """Whether the value from before is back; None if nothing was changed."""


@dataclass(frozen=True)
class RunResult:
    """Everything that arrived from one run of the runner.

    ``complete`` is true only if the end record of this order arrived with status ok and nothing the order
    asked for is missing; otherwise ``reason`` says why in one line for a person.
    """

    order_id: str
    records: tuple[AnyRecord, ...]
    complete: bool
    reason: str | None = None
    failure: Failure | None = None
    """The error the runner itself reported, if it did."""
    exit_status: int | None = None
    """The process's exit status, negative for a signal; None if it never ran to an end of its own."""
    wall_seconds: float = 0.0
    knobs: tuple[Knob, ...] = ()
    observed: dict[str, Any] = field(default_factory=dict)
    """What was seen of the device while the runner ran, such as its clocks. JSON values only."""
    resumed: int = 0
    """How often the run went on after the device had been lost and came back."""

    def require_complete(self) -> RunResult:
        """This result; raises IncompleteResult with the reason if it is not complete."""
        if not self.complete:
            raise IncompleteResult(f"order {self.order_id} is incomplete: {self.reason}")
        return self


@dataclass(frozen=True)
class Unavailable:
    """A device that was asked for by ``name`` and cannot be opened."""

    name: str
    error: HarnessError


class Device(Protocol):
    """A machine that can run the device runner."""

    @property
    def name(self) -> str:
        """What tells this device from others of its kind; ``host`` for this machine."""
        ...

    @property
    def kind(self) -> str:
        """The word ``--device`` takes."""
        ...

    @property
    def target(self) -> str:
        """What a model is compiled for to run here; see harness.compiler.targets."""
        ...

    @property
    def companion(self) -> str | None:
        """What the same model is compiled for a second time, to run in an app's place where its own code cannot run;
        None where it can."""
        ...

    @property
    def emulated(self) -> bool:
        """Whether its times are an emulator's: they are labelled and never compared with anything."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the device is: processor, cores, memory, system. JSON values only."""
        ...

    def conditions(self) -> dict[str, Any]:
        """What changes from run to run: load, clocks, temperatures. JSON values only."""
        ...

    def reserve(self, *, wait_seconds: float = ..., notify: Notify = ...) -> AbstractContextManager[None]:
        """Hold the device alone; raises DeviceBusy after ``wait_seconds``. Re-entrant for one Device object."""
        ...

    def settle(self, *, wait_seconds: float = ..., notify: Notify = ...) -> None:
        """Wait until the device is cool and charged enough to be measured, telling why it waits.

        Raises DeviceNotReady after ``wait_seconds``. Where nothing can be known, nothing is waited for.
        """
        ...

    def deploy(self, runner: Path, *, on_push: OnPush | None = ...) -> str:
        """Have the runner on the device, and return its path there; describing and running do it themselves.

        Raises RunnerUnusable (no such file), DeviceBusy, DeviceFull, FolderNotWritable, DeviceLost, CommandTimeout.
        """
        ...

    def describe(self, runner: Path, *, deadline: float = ...) -> RunnerDescription:
        """Ask the runner what it is; raises RunnerUnusable or CommandTimeout."""
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
        """Have a run in progress end soon; returns at once, may be called from any thread."""
        ...

    def close(self) -> None:
        """Let go of the connection and of whatever was left on the device; may be called again."""
        ...
