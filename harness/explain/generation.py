"""Explain an item of a generation: the calls of its encoder and decoder up to the step at which the tokens differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness.compiler import Archive
from harness.devices import RunResult
from harness.explain.subject import NothingToExplain, Subject
from harness.models.generation import GenerationWorkload
from harness.protocol.schema import WorkItem
from harness.validate import Verdict
from harness.validate.parity import first_divergence


class GenerationSubject(Subject[GenerationWorkload]):
    """Hold an item that generates text."""

    ready: ClassVar[str] = "harness.explain.chain:ready_text"

    def check(self) -> None:
        if not self.chosen.lines:
            raise NothingToExplain(f"the run has no {self.workload.unit} {self.chosen.item!r} of {self.workload.name}")

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
