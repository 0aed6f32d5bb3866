"""Define the names that a project's own tests may use; they stay the same until the next major version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.core.errors import UsageError

if TYPE_CHECKING:
    from harness.run.session import RunSession


class HarnessDevice(Protocol):
    """Describe the device of a test."""

    @property
    def name(self) -> str:
        """Return the name that is unique among devices of this kind; ``host`` for this machine."""
        ...

    @property
    def kind(self) -> str:
        """Return the kind, as ``--device`` takes it."""
        ...

    @property
    def emulated(self) -> bool:
        """Return whether its times are an emulator's, from which a phone's times cannot be known."""
        ...


class HarnessRun(Protocol):
    """Describe the run on a test's device, which ``harness_run`` returns."""

    @property
    def run_id(self) -> str: ...

    @property
    def folder(self) -> Path:
        """Return the folder of the run's files (docs/results.md)."""
        ...

    @property
    def device(self) -> HarnessDevice: ...

    @property
    def model_names(self) -> Sequence[str]:
        """Return the names of the models in this run's binary."""
        ...


@dataclass(frozen=True)
class ItemResult:
    """Hold the comparison of one item's answer with PyTorch's."""

    item: str
    verdict: str
    """``equal``, ``tie`` (within the model's tolerance), or the kind of error (docs/results.md)."""
    detail: str
    """What differs and by how much; empty if nothing does."""

    @property
    def agrees(self) -> bool:
        return self.verdict in ("equal", "tie")


class HarnessModel:
    """Run one model of a run. Each step is done once in a session, when it is first asked for."""

    def __init__(self, run: RunSession, name: str) -> None:
        """Raise UsageError if the run has no model of that name."""
        if name not in run.model_names:
            raise UsageError(
                f"this run has no model {name!r}", cure=f"it has {', '.join(run.model_names)}; --models adds others"
            )
        self._run = run
        self._workload = run.workloads[name]
        self.name = name

    def parity(self) -> list[ItemResult]:
        """Run every item once and compare the answers with PyTorch's.

        Raises IncompleteResult if the device did not get through them.
        """
        from harness.devices import IncompleteResult

        workload = self._workload
        title = workload.workload.title
        lines = [ItemResult(title(one.item), one.verdict.value, one.detail or "") for one in workload.parity()]
        if any(line.verdict == "missing" for line in lines):
            reason = self._run.order_reason("parity", workload.compared_as)
            raise IncompleteResult(f"not every item of {self.name} was compared: {reason}")
        return lines

    def times(self) -> dict[str, list[int]]:
        """Time the passes that ``--repeat`` asks for; return each item's durations on the device in nanoseconds.

        Raises IncompleteResult if the device did not get through them.
        """
        found = self._workload.times()
        found.result.require_complete()
        return {self._workload.workload.title(item): times for item, times in found.samples.items()}
