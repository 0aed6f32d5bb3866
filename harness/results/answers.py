"""Keep what a language model answered, for a table: the texts beside PyTorch's, and why they ended."""

from __future__ import annotations

from collections.abc import Iterable

from harness.results.schema import GeneratedAnswer, ParityLine

MOST_ITEMS, MOST_CHARACTERS = 50, 300


def generated_answers(lines: Iterable[ParityLine]) -> dict[str, GeneratedAnswer]:
    """Return the answers of the parity order by item, of lines that have a reason why PyTorch's generation ended."""
    found = {
        line.item: GeneratedAnswer(
            label=line.label,
            verdict=line.verdict,
            expected=_short(line.expected),
            got=_short(line.got),
            ended=line.ended,
            expected_ended=line.expected_ended,
        )
        for line in lines
        if line.passes == "parity" and line.expected_ended is not None
    }
    return dict(list(found.items())[:MOST_ITEMS])


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
