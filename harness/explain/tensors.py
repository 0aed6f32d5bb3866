"""Explain an item of a tensor workload."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from harness.compiler import Archive
from harness.compiler.observe.provenance import Provenance
from harness.core.progress import Progress
from harness.devices import RunResult
from harness.explain.subject import CannotExplain, NothingToExplain
from harness.explain.taps import leaf_count
from harness.models.tensor.described import UserModel
from harness.protocol.schema import Probe, RecordOptions, TapWindow, WorkItem, WorkOrder
from harness.protocol.tensors import decode, encode
from harness.results import ParityLine, Run
from harness.run.builder import RunOptions, TracingBuilder
from harness.validate.tensors import compare_item

INPUTS = "inputs.safetensors"


@dataclass(frozen=True)
class ChosenItem:
    """An item of a tensor workload. ``parity`` is its comparison in the run; None where it was not compared."""

    model: str
    item: str
    parity: ParityLine | None

    def subject(self, run: Run, options: RunOptions, builder: TracingBuilder, progress: Progress) -> TensorSubject:
        """See :class:`harness.explain.subject.Chosen`."""
        found = next((model for model in builder.models(options, progress) if model.name == self.model), None)
        known = run.manifest().workloads.get(self.model)
        if found is None or (known is not None and known.weights_sha256 != found.facts.weights_sha256):
            raise CannotExplain(
                f"the model {self.model} is not the one of run {run.run_id} any more",
                cure="make a new run with the model as it is now",
            )
        if self.item not in found.facts.items:
            shown = ", ".join(found.facts.items[:5])
            raise NothingToExplain(f"the model {self.model} has no item {self.item!r}; its items are {shown} …")
        return TensorSubject(self, found, builder)


@dataclass(frozen=True)
class TensorSubject:
    """Hold an item of a tensor workload as a :class:`harness.explain.subject.Subject`."""

    chosen: ChosenItem
    model: UserModel
    builder: TracingBuilder

    @property
    def label(self) -> str:
        return self.model.name

    @property
    def title(self) -> str:
        return repr(self.chosen.item)

    @property
    def weights_sha256(self) -> str:
        return self.model.facts.weights_sha256

    def archive(self, options: RunOptions, say: Progress) -> Archive:
        return self.builder.tapped_model(options, self.model, say)

    def order(self, archive: Archive, provenance: Provenance) -> WorkOrder:
        (function,) = provenance.functions
        inputs = self.model.inputs()
        items = list(inputs)[: list(inputs).index(self.chosen.item) + 1]
        return WorkOrder(
            order_id=f"explain-{self.model.name}-{secrets.token_hex(4)}",
            archive_sha256=archive.sha256,
            workloads=[archive.metadata.models[0].workload()],
            items=[WorkItem(id=item, workload=self.model.name, input=encode(inputs[item])) for item in items],
            warmup=0,
            repetitions=0,
            probe=RecordOptions(taps=TapWindow(item=self.chosen.item, first=0, last=leaf_count(function))),
        )

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        save_file(self.model.inputs()[self.chosen.item], folder / INPUTS)
        source = self.model.source
        return {
            "kind": "tensors",
            "precision": archive.metadata.precision,
            "path": str(source.path),
            "module": source.module,
            "attribute": source.attribute,
            "model": self.model.name,
        }

    def fed(self, result: RunResult) -> list[int]:
        return []

    def facts(self, result: RunResult) -> dict[str, Any]:
        line = self.chosen.parity
        return {
            "item": self.chosen.item,
            "model": self.model.name,
            "variant": self.model.name,
            "verdict": None if line is None else str(line.verdict),
            "detail": "" if line is None else line.detail or "",
            "reproduced": self._reproduced(result),
        }

    def _reproduced(self, result: RunResult) -> bool | None:
        """Return whether the archive with taps fails or passes as the run did; None without an answer or a verdict."""
        said = next(
            (
                record.tensors
                for record in result.records
                if isinstance(record, Probe) and self.chosen.item in record.items
            ),
            None,
        )
        if said is None or self.chosen.parity is None:
            return None
        expected = self.model.expected()[self.chosen.item]
        again = compare_item(self.model.name, self.chosen.item, self.model.facts.compare, expected, decode(said))
        return again.verdict.fails == self.chosen.parity.verdict.fails
