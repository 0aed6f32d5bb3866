"""Compute a comparison of engines: order of rounds, figures, ratios, agreement. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.models.g2p.word_list import Word
from harness.validate import accuracy, word_accuracy

_T = TypeVar("_T")
EOS_ID = 1


@dataclass(frozen=True)
class Answer:
    """What an engine answered for one word: ids with the end token if it came, without the start token."""

    token_ids: tuple[int, ...]
    text: str

    @property
    def generated(self) -> tuple[int, ...]:
        """Return the ids before the end token."""
        return self.token_ids[: self.token_ids.index(EOS_ID)] if EOS_ID in self.token_ids else self.token_ids


@dataclass(frozen=True)
class BatchTime:
    """One batch, once: nanoseconds from text to ids and text, and the answers in the batch's order."""

    ns: int
    answers: tuple[Answer, ...]


@dataclass
class Samples:
    """One engine's nanoseconds by batch, one per round, and its last answers."""

    ns: list[list[int]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def add(self, results: Sequence[BatchTime]) -> None:
        """Add one round; every round has the same batches."""
        self.ns = self.ns or [[] for _ in results]
        for times, result in zip(self.ns, results, strict=True):
            times.append(result.ns)
        self.answers = [answer for result in results for answer in result.answers]


def spread(items: Sequence[_T], count: int) -> list[_T]:
    """``count`` items at even distances; all of them if there are not so many."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def batches_of(words: Sequence[Word], size: int) -> list[list[Word]]:
    """Batches of words of similar length in bytes. Words that do not fill a batch are left out."""
    if size == 1:
        return [[word] for word in words]
    ordered = sorted(words, key=lambda word: len(word.word.encode()) + len(word.language))
    return [ordered[start : start + size] for start in range(0, len(ordered) - size + 1, size)]


def round_order(names: Sequence[str], index: int) -> list[str]:
    """Forward in even rounds, backward in odd ones: a drift of the machine's speed hits every engine alike."""
    return list(names) if index % 2 == 0 else list(reversed(names))


def ms_per_word(samples: Sequence[Sequence[int]], batch_size: int) -> float:
    """Return milliseconds a word: the median over batches of each batch's median over rounds, by the batch's words.

    Raises ValueError without any sample.
    """
    medians = [statistics.median(times) for times in samples if times]
    if not medians:
        raise ValueError("no samples")
    return statistics.median(medians) / batch_size / 1e6


@dataclass(frozen=True)
class Agreement:
    """How many words have exactly the reference's ids before the end token."""

    words: int
    equal: int

    @property
    def share(self) -> float:
        return self.equal / self.words


def agreement(answers: Sequence[Answer], reference: Sequence[Answer]) -> Agreement:
    """Raises ValueError for no words, or another number of them."""
    if not reference:
        raise ValueError("no words")
    pairs = zip(answers, reference, strict=True)
    return Agreement(len(reference), sum(one.generated == other.generated for one, other in pairs))


def phoneme_error_rate(answers: Sequence[Answer], words: Sequence[Word]) -> float | None:
    """PER over the words with pronunciations (see ``harness.validate``); None without any."""
    scored = [
        word_accuracy(answer.text, word.pronunciations)
        for answer, word in zip(answers, words, strict=True)
        if word.pronunciations
    ]
    return accuracy(scored).per if scored else None


@dataclass(frozen=True)
class Row:
    """One engine's line of the table. Ratios are this engine's time over the other's: below 1 it is faster."""

    engine: str
    ms_per_word: float | None = None
    """None when the engine failed before it had a sample."""
    ratios: Mapping[str, float] = field(default_factory=dict)
    tokens_per_word: float | None = None
    agreement: Agreement | None = None
    per: float | None = None
    failure: str | None = None


def rows(
    names: Sequence[str],
    samples: Mapping[str, Samples],
    batch_size: int,
    baselines: Sequence[str],
    quality: Mapping[str, tuple[Agreement, float | None]],
    failures: Mapping[str, str],
) -> list[Row]:
    """Return the table, fastest first, engines without a figure last."""
    figures = {
        name: ms_per_word(samples[name].ns, batch_size) for name in names if name in samples and samples[name].ns
    }
    found = []
    for name in names:
        figure = figures.get(name)
        agreed, per = quality.get(name, (None, None))
        lengths = [len(answer.token_ids) for answer in samples[name].answers] if figure is not None else []
        found.append(
            Row(
                engine=name,
                ms_per_word=figure,
                ratios={} if figure is None else {b: figure / figures[b] for b in baselines if b in figures},
                tokens_per_word=statistics.mean(lengths) if lengths else None,
                agreement=agreed,
                per=per,
                failure=failures.get(name),
            )
        )
    return sorted(found, key=lambda row: (row.ms_per_word is None, row.ms_per_word or 0.0))


def suspect(row: Row, least_share: float) -> bool:
    """Return whether an engine diverges from PyTorch so often that its model must be another one."""
    return row.agreement is not None and row.agreement.share < least_share
