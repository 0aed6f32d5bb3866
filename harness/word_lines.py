"""What a run keeps of its words: PyTorch's answers, the comparisons with them, the timed passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.devices import AnyRecord, RunResult
from harness.models.reference import Reference
from harness.models.words import Word
from harness.protocol import WorkItem
from harness.results import ParityLine, ReferenceLine
from harness.validate import Decoded, answerless, compare_word, decodings


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
            latency_ns=said.latency_ns,
        )
        for item, word, said in zip(items, words, reference.items, strict=True)
    ]


def parity_lines(
    comparison: str,
    items: list[WorkItem],
    reference: Reference,
    records: Iterable[AnyRecord],
    *,
    tolerance: float,
) -> list[ParityLine]:
    """A line for each item; those that the records do not reach are ``missing``. ``tolerance``: see compare_word."""
    from harness.results.summarize import parity_line

    records = list(records)
    observed, broken = decodings(records), answerless(records)
    lines = []
    for item, said in zip(items, reference.items, strict=True):
        expected = Decoded(tuple(said.token_ids), said.text, tuple(said.margins))
        row = compare_word(
            *(item.id, item.language, item.word, expected, observed.get(item.id, [])),
            tolerance=tolerance,
            no_answer=broken.get(item.id),
        )
        lines.append(parity_line(comparison, row))
    return lines
