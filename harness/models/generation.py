"""Define workloads that generate text: encoder, then decoder, greedily, token by token, with a cache or without."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.models.options import ModelOption
from harness.models.workload import Workload
from harness.protocol.schema import AnyRecord, Kind, RecordOptions, WorkItem
from harness.validate import Decoded, ItemParity, answerless, compare_decodings, decodings
from harness.validate.parity import first_divergence

MAX_OUTPUT_LEN = ModelOption(
    "--max-output-len",
    "generated tokens (128)",
    metavar="N",
    default=128,
    value=int,
    limits=(1, 1024),
    commands=("suites", "compile", "xcframework"),
)
"""The option of kinds that generate."""
FUNCTIONS = {"cache": ("encoder", "decoder_prefill", "decoder_step"), "cacheless": ("encoder", "decoder")}


class GreedyWorkload(Workload[Decoded]):
    """Judge greedily generated tokens by PyTorch's, up to a tie."""

    tolerance: float
    """The top-2 margin of logits up to which another token is a tie."""

    @property
    def compare_as(self) -> str:  # type: ignore[override]
        return f"tokens, ties within {self.tolerance:g}"

    def observed(self, decoded: Decoded) -> Decoded:
        """Return what a record gives as it is compared, such as with the text of its tokens."""
        return decoded

    def stored(self, item: WorkItem, answer: Decoded) -> dict[str, Any]:
        return {"token_ids": answer.token_ids, "text": answer.text, "margins": answer.margins or ()}

    def compare(
        self,
        items: Sequence[WorkItem],
        answers: Mapping[str, Decoded],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
    ) -> list[ItemParity]:
        records = probed if timed is None else timed
        found, broken = decodings(records), answerless(records)
        return [
            compare_decodings(
                item,
                answers[item.id],
                [self.observed(one) for one in found.get(item.id, [])],
                tolerance=self.tolerance,
                no_answer=broken.get(item.id),
            )
            for item in items
        ]

    def departure(self, item: WorkItem, expected: Decoded, found: Mapping[str, Any]) -> str | None:
        step = first_divergence(expected.token_ids, found["token_ids"])
        margins = expected.margins or ()
        if step is None or (step < len(margins) and margins[step] <= self.tolerance):
            return None
        return f"{self.title(item.id)!r}: PyTorch gives another token at step {step} than when it was compared"


class GenerationWorkload(GreedyWorkload):
    """Judge generated tokens by those of PyTorch's greedy decoding. A subclass brings the model, its prompts and
    PyTorch's answers."""

    kind: ClassVar[Kind] = "generation"
    variants: ClassVar[tuple[str, ...]] = tuple(FUNCTIONS)
    alike: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    named_alone: ClassVar[bool] = True
    explained_by: ClassVar[str] = "harness.explain.generation:GenerationSubject"
    own_rule: ClassVar[bool] = False
    smoke_items: ClassVar[int] = 3
    probe: ClassVar[RecordOptions] = RecordOptions(margins=True)

    @abstractmethod
    def item(self, name: str, subset: str, label: str) -> WorkItem:
        """Return the item that runs a text of a subset, such as a word of a language."""
