"""Explain a word of G2P."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compiler import Archive
from harness.compiler.observe.provenance import Provenance
from harness.core.progress import Progress
from harness.devices import RunResult
from harness.explain.subject import CannotExplain
from harness.explain.taps import leaf_count
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.items import WORKLOAD, word_item
from harness.protocol.schema import Probe, RecordOptions, TapWindow, WorkItem, WorkOrder
from harness.results import ParityLine, ReferenceLine, Run
from harness.run.builder import RunOptions, TracingBuilder, Variant
from harness.validate import Verdict
from harness.validate.parity import first_divergence


@dataclass(frozen=True)
class ChosenWord:
    """Name a chosen word. ``before`` are the run's words before it, which may have changed the runner's state."""

    variant: Variant
    reference: ReferenceLine
    before: list[ReferenceLine]
    parity: ParityLine | None

    @property
    def last_step(self) -> int:
        """Return the first step at which the tokens differ; the last step if they do not."""
        if self.parity is not None and self.parity.step is not None:
            return self.parity.step
        return len(self.reference.token_ids) - 1

    def items(self, batch_size: int, *, space: bool = True) -> list[WorkItem]:
        """Return the items to run. With batches of several words only the word itself is run.
        ``space``: see word_item.
        """
        lines = [*(self.before if batch_size == 1 else []), self.reference]
        return [word_item(line.item, line.subset, line.label, space=space) for line in lines]

    def subject(self, run: Run, options: RunOptions, builder: TracingBuilder, _progress: Progress) -> WordSubject:
        """See :class:`harness.explain.subject.Chosen`."""
        known = run.manifest().workloads.get(self.reference.workload)
        found = builder.checkpoint(options)
        if known is not None and known.weights_sha256 != found.sha256:
            raise CannotExplain(
                f"the checkpoint {known.label} is not the one of run {run.run_id} any more",
                cure="give the run's own checkpoint, or make a new run with this one",
            )
        return WordSubject(self, found, builder)


@dataclass(frozen=True)
class WordSubject:
    """Hold a word of G2P as a :class:`harness.explain.subject.Subject`."""

    word: ChosenWord
    checkpoint: Checkpoint
    builder: TracingBuilder

    @property
    def label(self) -> str:
        return self.checkpoint.label

    @property
    def title(self) -> str:
        return repr(self.word.reference.label)

    @property
    def weights_sha256(self) -> str:
        return self.checkpoint.sha256

    def archive(self, options: RunOptions, say: Progress) -> Archive:
        return self.builder.tapped_archive(options, self.checkpoint, self.word.variant, say)

    def order(self, archive: Archive, provenance: Provenance) -> WorkOrder:
        counts = {function.name: leaf_count(function) for function in provenance.functions}
        decoder = counts.get("decoder_step") or counts.get("decoder", 0)
        calls = counts["encoder"] + counts.get("decoder_prefill", 0) + decoder * (self.word.last_step + 1)
        return WorkOrder(
            order_id=f"explain-{self.word.variant}-{secrets.token_hex(4)}",
            archive_sha256=archive.sha256,
            workloads=[archive.metadata.generation(WORKLOAD)],
            items=self.word.items(archive.metadata.batch_size, space=archive.metadata.prompt_space),
            warmup=0,
            repetitions=0,
            probe=RecordOptions(margins=True, taps=TapWindow(item=self.word.reference.item, first=0, last=calls)),
        )

    def request(self, archive: Archive, folder: Path) -> dict[str, Any]:
        metadata = archive.metadata
        return {
            "kind": "word",
            "checkpoint": str(self.checkpoint.folder),
            "precision": metadata.precision,
            "kv_cache": metadata.use_kv_cache,
            "shapes": {
                "batch_size": metadata.batch_size,
                "max_input_bytes": metadata.max_input_bytes,
                "max_output_len": metadata.max_output_len,
            },
            "language": self.word.reference.subset,
            "word": self.word.reference.label,
            "prompt_space": metadata.prompt_space,
            "last_step": self.word.last_step,
        }

    def fed(self, result: RunResult) -> list[int]:
        said = self._said(result)
        return self.word.reference.token_ids if said is None else said

    def facts(self, result: RunResult) -> dict[str, Any]:
        line, reference, said = self.word.parity, self.word.reference, self._said(result)
        step = None if line is None else line.step
        kept = ("step", "expected_token", "got_token", "expected_margin", "got_margin")
        return {
            "item": reference.item,
            "language": reference.subset,
            "word": reference.label,
            "variant": self.word.variant,
            "verdict": None if line is None else str(line.verdict),
            "tie": line is not None and line.verdict is Verdict.TIE,
            "reproduced": None if said is None else first_divergence(reference.token_ids, said) == step,
            **({} if line is None else {name: getattr(line, name) for name in kept}),
        }

    def _said(self, result: RunResult) -> list[int] | None:
        """Return the archive's tokens; None if it ended with an error."""
        item = self.word.reference.item
        for record in result.records:
            if isinstance(record, Probe) and item in record.items:
                return record.outputs[record.items.index(item)].token_ids
        return None
