"""What a run keeps of its words: PyTorch's answers, the comparisons with them, the timed passes, the turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.devices import AnyRecord, RunResult
from harness.models.reference import Reference, ReferenceItem
from harness.models.words import Word
from harness.protocol import WorkItem
from harness.results import ParityLine, ReferenceLine
from harness.validate import Decoded, answerless, compare_word, decodings
from harness.validate.parity import first_divergence


@dataclass(frozen=True)
class Latency:
    """The timed passes, in nanoseconds by item (or by batch), and what they said."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[ParityLine]


def reference_lines(items: list[WorkItem], words: list[Word], reference: Reference) -> list[ReferenceLine]:
    """What PyTorch said, as it is stored, with the gold pronunciations; all three in the same order."""
    return [
        ReferenceLine(
            item=item.id,
            language=word.language,
            word=word.word,
            pronunciations=list(word.pronunciations),
            token_ids=said.token_ids,
            text=said.text,
            margins=said.margins,
        )
        for item, word, said in zip(items, words, reference.items, strict=True)
    ]


def parity_lines(
    comparison: str,
    items: list[WorkItem],
    answers: Sequence[ReferenceItem],
    records: Iterable[AnyRecord],
    *,
    tolerance: float,
) -> list[ParityLine]:
    """A line for each item, of which ``answers`` are PyTorch's; those that the records do not reach are ``missing``.
    ``tolerance``: see compare_word."""
    from harness.results.summarize import parity_line

    records = list(records)
    observed, broken = decodings(records), answerless(records)
    lines = []
    for item, said in zip(items, answers, strict=True):
        expected = Decoded(tuple(said.token_ids), said.text, tuple(said.margins))
        row = compare_word(
            *(item.id, item.language, item.word, expected, observed.get(item.id, [])),
            tolerance=tolerance,
            no_answer=broken.get(item.id),
        )
        lines.append(parity_line(comparison, row))
    return lines


def departure(said: ReferenceItem, token_ids: Sequence[int], *, tolerance: float) -> str | None:
    """How tokens that PyTorch gave another time part from those that the runner is compared with; None within a tie."""
    step = first_divergence(said.token_ids, token_ids)
    if step is None or (step < len(said.margins) and said.margins[step] <= tolerance):
        return None
    return (
        f"{said.language} {said.word!r}: PyTorch gives another token at step {step} than when the words were compared"
    )
