"""Define workloads whose model is one function that takes tensors and returns tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.core.progress import Progress
from harness.measure.sampling import spread_order
from harness.models.timing import TimingProcess
from harness.models.workload import Expected, Workload
from harness.protocol.schema import AnyRecord, Kind, Probe, Sample, Tensors, WorkItem
from harness.protocol.tensors import Array, decode, digest
from harness.validate import ItemParity
from harness.validate.comparison import ComparisonRule
from harness.validate.tensors import compare_item

Arrays = dict[str, Array]
ANSWER_SECONDS = 600.0
"""What loading a model in PyTorch, or an answer of it, may take."""


class TensorWorkload(Workload[Arrays]):
    """Judge tensors by a comparison rule. A subclass brings the model and its items."""

    kind: ClassVar[Kind] = "tensor"
    keeps_hashes: ClassVar[bool] = True
    explained_by: ClassVar[str] = "harness.explain.tensors:TensorSubject"

    comparison: ComparisonRule

    @property
    def compare_as(self) -> str:  # type: ignore[override]
        return self.comparison.describe()

    def spread(self) -> list[int]:
        """Return the items' numbers in such an order that every prefix is spread over the items' sizes."""
        return spread_order([(item.subset, item.input.size) for item in self.items if isinstance(item.input, Tensors)])

    def expected(self, progress: Progress) -> Expected[Arrays]:
        """Return PyTorch's answers, by the calls that are timed. They are not cached."""
        process = TimingProcess([self.timed_model()], threads=1, deadline=ANSWER_SECONDS)
        try:
            asked = {item.id: process.answer(self.name, self.timed_item(item), progress) for item in self.items}
        finally:
            process.close()
        return Expected({item: decode(Tensors.model_validate(found["tensors"])) for item, found in asked.items()})

    def stored(self, item: WorkItem, answer: Arrays) -> dict[str, Any]:
        return {"output_sha256": digest(answer)}

    def compare(
        self,
        items: Sequence[WorkItem],
        answers: Mapping[str, Arrays],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
    ) -> list[ItemParity]:
        wanted = {item.id for item in items}
        found = {
            record.items[0]: decode(record.tensors)
            for record in probed
            if isinstance(record, Probe) and record.tensors is not None and record.items[0] in wanted
        }
        digests: dict[str, list[str]] = defaultdict(list)
        for record in timed or ():
            if isinstance(record, Sample) and record.output_sha256 is not None:
                digests[record.items[0]].append(record.output_sha256)

        def row(item: str) -> ItemParity:
            got = found.get(item) if timed is None or digests[item] else None
            # The runner hashes its outputs in the model's order, which is that of the answers.
            seen = [digest({name: got[name] for name in answers[item]})] if got and digests[item] else []
            return compare_item(self.name, item, self.comparison, answers[item], got, digests=[*seen, *digests[item]])

        return [row(item.id) for item in items]

    def departure(self, item: WorkItem, expected: Arrays, found: Mapping[str, Any]) -> str | None:
        got = decode(Tensors.model_validate(found["tensors"]))
        row = compare_item(self.name, item.id, self.comparison, expected, got)
        return f"PyTorch now answers otherwise: {row.describe()}" if row.verdict.fails else None
