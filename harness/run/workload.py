"""Declare what a run does with a workload of any kind. Session, pairs and plugin use models only in this way."""

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
    """Hold the timed passes of a workload: nanoseconds by item (or batch), and the comparisons of their answers."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[Line]


class ComparedItem(Protocol):
    """Compare one item's answer with PyTorch's."""

    @property
    def item(self) -> str: ...

    @property
    def verdict(self) -> Verdict: ...

    @property
    def detail(self) -> str | None: ...


class WorkloadRun(Protocol):
    """Run one workload. Its steps are done once (:class:`harness.run.context.RunContext`)."""

    @property
    def name(self) -> str:
        """Return the workload's name in work orders and results."""
        ...

    def facts(self) -> WorkloadFacts:
        """Return the workload's facts for the manifest."""
        ...

    @property
    def source(self) -> str:
        """Return the source's name in ``--models``; several workloads may come from one source."""
        ...

    @property
    def compared_as(self) -> str:
        """Return the variant under which its orders are kept."""
        ...

    def label(self, items: str) -> str:
        """Return a person's name for an item, or the names for a batch of items."""
        ...

    def smoke(self) -> RunResult:
        """Run the first few items once."""
        ...

    def parity(self) -> Sequence[ComparedItem]:
        """Run every item once; return a comparison for each, ``missing`` if an incomplete run did not reach it."""
        ...

    def times(self) -> TimedPasses[Any]:
        """Run the timed passes; an incomplete result holds what was measured."""
        ...

    def passes(self, purpose: Purpose, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        """Run passes of a runner over all timed items."""
        ...

    def subject(self) -> Subject:
        """Return the items that are timed in turns with PyTorch."""
        ...

    def timed_models(self) -> list[TimedModel]:
        """Return the models that PyTorch's process loads for timing; one process holds all workloads of one source."""
        ...
