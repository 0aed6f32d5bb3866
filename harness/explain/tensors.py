"""Explain an item of a tensor workload, which is one call of one function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from safetensors.numpy import save_file

from harness.compiler import Archive
from harness.compiler.metadata import ModelMetadata
from harness.devices import RunResult
from harness.explain.schema import INPUTS
from harness.explain.subject import NothingToExplain, Subject
from harness.models.workload import Workload
from harness.protocol.schema import WorkItem
from harness.protocol.tensors import decode


class TensorSubject(Subject[Workload[Any]]):
    """Hold an item of a tensor workload."""

    ready: ClassVar[str] = "harness.explain.chain:ready_call"

    def check(self) -> None:
        names = [item.id for item in self.workload.items]
        if self.chosen.item not in names:
            shown = ", ".join(names[:5])
            missing = f"the model {self.workload.name} has no item {self.chosen.item!r}"
            raise NothingToExplain(f"{missing}; its items are {shown} …")

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
        described = archive.metadata.models[0]
        assert isinstance(described, ModelMetadata), "an archive to explain has this model only"
        return {"inputs": [one.name for one in described.inputs]}

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
