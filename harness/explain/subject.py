"""Make the subject of an explanation: a failed item of a run, how to run it again, and PyTorch's request for it."""

from __future__ import annotations

import pkgutil
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from harness.compiler import Archive
from harness.compiler.observe.provenance import Provenance
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress
from harness.devices import RunResult
from harness.explain.taps import leaf_count
from harness.models.kinds import without_choice_of_items
from harness.models.workload import Workload
from harness.protocol.schema import Probe, TapWindow, WorkItem, WorkOrder
from harness.results import ParityLine, ReferenceLine, Run
from harness.run.builder import Builder, RunOptions

Model = TypeVar("Model", bound=Workload[Any])


class NothingToExplain(UsageError):
    """Nothing of the run failed, or the named item is not in it."""

    cure = "name any item with --item to see its kernels compared with PyTorch; `harness show` lists what failed"


class CannotExplain(HarnessError):
    """The run cannot be made again."""

    cure = "make a new run and explain that one"


@dataclass(frozen=True)
class Chosen:
    """Name an item of a run. ``parity`` is its comparison in the run; None if it was not compared."""

    workload: str
    item: str
    variant: str = ""
    """Empty for a workload without variants."""
    lines: Sequence[ReferenceLine] = ()
    """The run's items up to this one. Those before it may have changed the runner's state."""
    parity: ParityLine | None = None

    @property
    def reference(self) -> ReferenceLine:
        """Return PyTorch's generated text for this item."""
        return self.lines[-1]

    @property
    def last_step(self) -> int:
        """Return the first step at which the tokens differ; the last step if they do not."""
        if self.parity is not None and self.parity.step is not None:
            return self.parity.step
        return len(self.reference.token_ids) - 1


def opened(run: Run, name: str, options: RunOptions, builder: Builder, progress: Progress) -> Workload[Any]:
    """Return a run's workload as it is now. Raises CannotExplain if it has changed, and what opening it raises."""
    known = run.manifest().workloads.get(name)
    # The items are taken from the run, and its file of words may be gone.
    wanted = without_choice_of_items(options)
    if known is not None:
        wanted = replace(wanted, models=(known.source,))
    found = next((one for one in builder.workloads(wanted, progress) if one.name == name), None)
    if found is None or (known is not None and known.weights_sha256 != found.weights_sha256):
        raise CannotExplain(
            f"the model {known.label if known else name} is not the one of run {run.run_id} any more",
            cure="make a new run with the current model",
        )
    return found


def subject_of(run: Run, chosen: Chosen, options: RunOptions, builder: Builder, progress: Progress) -> Subject[Any]:
    """Return a chosen item with its model. Raises CannotExplain, NothingToExplain, and what opening a model raises."""
    workload = opened(run, chosen.workload, options, builder, progress)
    made: Subject[Any] = pkgutil.resolve_name(workload.explained_by)(chosen, workload, builder)
    made.check()
    return made


@dataclass(frozen=True)
class Subject(ABC, Generic[Model]):
    """Hold an item and its model, ready to be compiled and run. ``Model`` is the type of its workload."""

    chosen: Chosen
    workload: Model
    builder: Builder

    ready: ClassVar[str]
    """``module:function`` that makes a :class:`harness.explain.chain.Ready` of the worker's request."""

    def check(self) -> None:
        """Raise NothingToExplain if the model has no such item."""

    @property
    def label(self) -> str:
        """Return a person's name for the model."""
        return self.workload.label

    @property
    @abstractmethod
    def title(self) -> str:
        """Return a person's name for the item."""

    @abstractmethod
    def items(self, batch_size: int) -> list[WorkItem]:
        """Return the run's items up to this one."""

    @abstractmethod
    def calls(self, counts: Mapping[str, int]) -> int:
        """Return how many kernel calls are recorded; ``counts`` are the calls inside one call of each function."""

    @abstractmethod
    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        """Return the item's fields of the request for ``harness.explain.worker``; write its files into ``folder``."""

    def fed(self, result: RunResult) -> list[int]:
        """Return the tokens that were fed to the decoder, without the start token; empty without a decoder."""
        return []

    @abstractmethod
    def facts(self, result: RunResult) -> dict[str, Any]:
        """Return the item's own fields of the explanation."""

    def archive(self, options: RunOptions, progress: Progress) -> Archive:
        """Return the archive that is instrumented for tracing, for the options' target."""
        variant = self.chosen.variant or options.variant
        return self.builder.archive(options, [self.workload], variant, progress, taps=True)

    def order(self, archive: Archive, provenance: Provenance) -> WorkOrder:
        """Return an order of the run's items up to this one, which records this item's kernels."""
        described = archive.metadata.workload(self.workload.name, self.workload.kind)
        assert described is not None, "the archive was compiled with this workload"
        counts = {function.name: leaf_count(function) for function in provenance.functions}
        window = TapWindow(item=self.chosen.item, first=0, last=self.calls(counts))
        return WorkOrder(
            order_id=f"explain-{self.chosen.variant or self.workload.name}-{secrets.token_hex(4)}",
            archive_sha256=archive.sha256,
            workloads=[described],
            items=self.items(archive.metadata.batch_size),
            warmup=0,
            repetitions=0,
            probe=self.workload.probe.model_copy(update={"taps": window}),
        )

    def whole_request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        """Return the request for ``harness.explain.worker``."""
        compilable = self.workload.compilable(self.chosen.variant)
        return {
            "ready": self.ready,
            "load": compilable.load,
            "request": dict(compilable.request),
            "precision": archive.metadata.precision,
            **self.request(archive, folder),
        }

    def probed(self, result: RunResult) -> Probe | None:
        """Return the item's probe; None if the run ended before it."""
        probes = (record for record in result.records if isinstance(record, Probe))
        return next((probe for probe in probes if self.chosen.item in probe.items), None)
