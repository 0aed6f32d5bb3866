"""What a run does with a workload, whatever kind of model it is; session, pairs and plugin use no more of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from harness.devices import RunResult
from harness.models.timing import TimedModel
from harness.native import Runner
from harness.results import WorkloadFacts
from harness.run.orders import Purpose
from harness.run.turns import Subject
from harness.validate import Verdict

Line = TypeVar("Line")


@dataclass(frozen=True)
class TimedPasses(Generic[Line]):
    """The timed passes of a workload: nanoseconds by item (or by batch), and how its answers in them compare."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[Line]


class ComparedItem(Protocol):
    """One item's answer beside PyTorch's."""

    @property
    def item(self) -> str: ...

    @property
    def verdict(self) -> Verdict: ...

    @property
    def detail(self) -> str | None: ...


class WorkloadRun(Protocol):
    """One workload of a run. Its steps are done once (:class:`harness.run.context.RunContext`)."""

    @property
    def name(self) -> str:
        """As work orders and results have it."""
        ...

    def facts(self) -> WorkloadFacts:
        """Return what the manifest keeps of it."""
        ...

    @property
    def source(self) -> str:
        """As ``--models`` names it; several workloads may come from one source."""
        ...

    @property
    def compared_as(self) -> str:
        """The variant under which its orders are kept."""
        ...

    def label(self, items: str) -> str:
        """Return an item's name for a person, or the names of a batch of items."""
        ...

    def smoke(self) -> RunResult:
        """Run the first few items, once."""
        ...

    def parity(self) -> Sequence[ComparedItem]:
        """Run every item once; return one comparison for each, ``missing`` where an incomplete run did not reach it."""
        ...

    def times(self) -> TimedPasses[Any]:
        """Run the timed passes; an incomplete result holds what there is."""
        ...

    def passes(self, purpose: Purpose, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        """Run passes of a runner over all that is timed."""
        ...

    def subject(self) -> Subject:
        """Return what is timed in turns with PyTorch."""
        ...

    def timed_models(self) -> list[TimedModel]:
        """Return what PyTorch's process loads to time it; one process has all workloads of one source."""
        ...
