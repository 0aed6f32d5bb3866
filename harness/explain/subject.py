"""Make the subject of an explanation: a failed item of a run, how to run it again, and PyTorch's request for it."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors.numpy import save_file

from harness.compiler import Archive
from harness.compiler.observe.provenance import Provenance
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import Progress
from harness.devices import RunResult
from harness.explain.schema import INPUTS
from harness.explain.taps import leaf_count
from harness.models.generation import GenerationWorkload
from harness.models.workload import Workload
from harness.protocol.schema import Probe, TapWindow, WorkItem, WorkOrder
from harness.protocol.tensors import decode
from harness.results import ParityLine, ReferenceLine, Run
from harness.run.builder import Builder, RunOptions
from harness.validate import Verdict
from harness.validate.parity import first_divergence

Model = TypeVar("Model", bound=Workload[Any])


class NothingToExplain(UsageError):
    """Nothing of the run failed, or the named item is not in it."""

    cure = "name any item with --item to see its kernels beside PyTorch; `harness show` lists what failed"


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
    """For generated text: the run's items up to this one. Those before it may have changed the runner's state."""
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
    wanted = replace(options, words=None, language=None, word_sample=None)
    if known is not None:
        wanted = replace(wanted, models=(known.source,))
    found = next((one for one in builder.workloads(wanted, progress) if one.name == name), None)
    if found is None or (known is not None and known.weights_sha256 != found.weights_sha256):
        raise CannotExplain(
            f"the model {known.label if known else name} is not the one of run {run.run_id} any more",
            cure="make a new run with the model as it is now",
        )
    return found


def subject_of(run: Run, chosen: Chosen, options: RunOptions, builder: Builder, progress: Progress) -> Subject[Any]:
    """Return a chosen item with its model. Raises CannotExplain, NothingToExplain, and what opening a model raises."""
    workload = opened(run, chosen.workload, options, builder, progress)
    if isinstance(workload, GenerationWorkload):
        return GenerationSubject(chosen, workload, builder)
    names = [item.id for item in workload.items]
    if chosen.item not in names:
        shown = ", ".join(names[:5])
        raise NothingToExplain(f"the model {workload.name} has no item {chosen.item!r}; its items are {shown} …")
    return TensorSubject(chosen, workload, builder)


@dataclass(frozen=True)
class Subject(ABC, Generic[Model]):
    """Hold an item and its model, ready to be compiled and run. ``Model`` is the type of its workload."""

    chosen: Chosen
    workload: Model
    builder: Builder

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
            "kind": self.workload.kind,
            "load": compilable.load,
            "request": dict(compilable.request),
            "precision": archive.metadata.precision,
            **self.request(archive, folder),
        }

    def probed(self, result: RunResult) -> Probe | None:
        """Return the item's probe; None if the run ended before it."""
        probes = (record for record in result.records if isinstance(record, Probe))
        return next((probe for probe in probes if self.chosen.item in probe.items), None)


class GenerationSubject(Subject[GenerationWorkload]):
    """Hold an item that generates text."""

    @property
    def title(self) -> str:
        return repr(self.chosen.reference.label)

    def items(self, batch_size: int) -> list[WorkItem]:
        """Return the items to run. With batches of several items only the item itself is run."""
        lines = self.chosen.lines if batch_size == 1 else self.chosen.lines[-1:]
        return [self.workload.item(line.item, line.subset, line.label) for line in lines]

    def calls(self, counts: Mapping[str, int]) -> int:
        decoder = counts.get("decoder_step") or counts.get("decoder", 0)
        return counts["encoder"] + counts.get("decoder_prefill", 0) + decoder * (self.chosen.last_step + 1)

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        item = self.items(archive.metadata.batch_size)[-1]
        return {"prompt": item.input, "batch": archive.metadata.batch_size, "last_step": self.chosen.last_step}

    def fed(self, result: RunResult) -> list[int]:
        generated = self._generated(result)
        return self.chosen.reference.token_ids if generated is None else generated

    def facts(self, result: RunResult) -> dict[str, Any]:
        line, reference, generated = self.chosen.parity, self.chosen.reference, self._generated(result)
        step = None if line is None else line.step
        kept = ("step", "expected_token", "got_token", "expected_margin", "got_margin")
        return {
            "item": reference.item,
            "language": reference.subset,
            "word": reference.label,
            "model": self.workload.name,
            "variant": self.chosen.variant,
            "verdict": None if line is None else str(line.verdict),
            "tie": line is not None and line.verdict is Verdict.TIE,
            "reproduced": None if generated is None else first_divergence(reference.token_ids, generated) == step,
            **({} if line is None else {name: getattr(line, name) for name in kept}),
        }

    def _generated(self, result: RunResult) -> list[int] | None:
        """Return the archive's tokens; None if it ended with an error."""
        probe = self.probed(result)
        return None if probe is None else probe.outputs[probe.items.index(self.chosen.item)].token_ids


class TensorSubject(Subject[Workload[Any]]):
    """Hold an item of a tensor workload."""

    @property
    def title(self) -> str:
        return repr(self.chosen.item)

    def items(self, batch_size: int) -> list[WorkItem]:
        ordered = list(self.workload.items)
        return ordered[: [item.id for item in ordered].index(self.chosen.item) + 1]

    def calls(self, counts: Mapping[str, int]) -> int:
        return sum(counts.values())

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        given = self.items(1)[-1].input
        assert not isinstance(given, str), "tensor workloads take tensors"
        save_file(decode(given), folder / INPUTS)
        return {"inputs": [one.name for one in archive.metadata.models[0].inputs]}

    def facts(self, result: RunResult) -> dict[str, Any]:
        line = self.chosen.parity
        return {
            "item": self.chosen.item,
            "model": self.workload.name,
            "variant": self.workload.name,
            "verdict": None if line is None else str(line.verdict),
            "detail": "" if line is None else line.detail or "",
            "reproduced": self._reproduced(result),
        }

    def _reproduced(self, result: RunResult) -> bool | None:
        """Return whether the instrumented archive fails or passes as the run did; None without answer or verdict."""
        probe = self.probed(result)
        if probe is None or self.chosen.parity is None:
            return None
        answers = self.workload.expected(lambda _text: None).answers
        [again] = self.workload.compare(self.items(1)[-1:], answers, [probe])
        return again.verdict.fails == self.chosen.parity.verdict.fails
