"""Split IPA strings into phonemes, and measure how far a predicted pronunciation is from the gold ones.

A phoneme (segment) is, following the Handbook of the IPA (1999) and as segmenters of transcriptions do it
(Moran & Cysouw 2018, "The Unicode Cookbook for Linguists", chapter 5):

- a base letter with the combining marks on it (``õ``, ``e̯``) and the modifier letters and length marks
  behind it (``tʲ``, ``aː``, ``sˤ``, ``a˞``);
- two letters joined by a tie bar (``t͡ʃ``, ``t͜ʃ``) are one;
- a superscript nasal (``ᵐ ⁿ ᵑ ᶬ``) belongs to the letter behind it (``ᵐb``);
- stress and accent marks (``ˈ ˌ ²``), tone letters and every other sign are segments of their own, so that
  a misplaced stress is one error;
- white space only separates.

Strings are compared in canonical decomposition (NFD), so composed and decomposed spellings are equal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

STRESS_MARKS = "ˈˌ"
"""Marks of category Lm, like the modifier letters, that mark a syllable and not the letter before."""
PRENASAL_MARKS = "ᵐⁿᵑᶬ"
TIE_BARS = "\u0361\u035c"
RHOTIC_HOOK = "\u02de"
"""The only modifier of category Sk that belongs to a letter; the others there are tone letters."""


def segments(text: str) -> list[str]:
    """Return the phonemes of an IPA string, each in NFC."""
    found: list[str] = []
    prefix = ""
    open_for_marks = tied = False
    for char in unicodedata.normalize("NFD", text):
        if char.isspace():
            # A prefix without a letter is still a symbol of the text and must not vanish.
            found, prefix = _closed(found, prefix), ""
            open_for_marks = tied = False
        elif _attaches(char) and open_for_marks:
            found[-1] += char
            tied = char in TIE_BARS or (tied and unicodedata.category(char).startswith("M"))
        elif char in PRENASAL_MARKS or _attaches(char):
            prefix += char
            open_for_marks = tied = False
        elif _is_letter(char):
            if tied:
                found[-1] += char
            else:
                found.append(prefix + char)
                prefix = ""
            open_for_marks, tied = True, False
        else:
            found = [*_closed(found, prefix), char]
            prefix, open_for_marks, tied = "", False, False
    return [unicodedata.normalize("NFC", segment) for segment in _closed(found, prefix)]


def _closed(found: list[str], prefix: str) -> list[str]:
    return [*found, prefix] if prefix else found


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] == "L" and char not in STRESS_MARKS


def _attaches(char: str) -> bool:
    """Return whether a character is a combining mark or modifier letter that belongs to the letter before it."""
    category = unicodedata.category(char)
    modifier = category == "Lm" and char not in STRESS_MARKS + PRENASAL_MARKS
    return category[0] == "M" or modifier or char == RHOTIC_HOOK


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return Levenshtein's distance (1966): the fewest insertions, deletions and substitutions of one segment each."""
    return Levenshtein.distance(one, other)


@dataclass(frozen=True)
class WordAccuracy:
    """Hold the comparison of a predicted word with the closest gold pronunciation."""

    edits: int
    gold_length: int
    """Segments of that gold pronunciation."""
    gold: str


def word_accuracy(predicted: str, alternatives: Sequence[str]) -> WordAccuracy:
    """Return the distance to the closest alternative; if several are equally close, the first is taken.

    Raises ValueError if there is no alternative, or one without any segment.
    """
    if not alternatives:
        raise ValueError("no gold pronunciation")
    got = segments(predicted)
    scored = []
    for gold in alternatives:
        expected = segments(gold)
        if not expected:
            raise ValueError(f"the gold pronunciation {gold!r} has no phoneme")
        scored.append(WordAccuracy(edit_distance(got, expected), len(expected), gold))
    return min(scored, key=lambda accuracy: accuracy.edits)


@dataclass(frozen=True)
class Accuracy:
    """Hold error rates over words.

    ``per`` is the phoneme error rate: edits summed over words divided by gold segments summed over words,
    as NIST's sclite scores errors and as the SIGMORPHON 2020 shared task (Gorman et al.) defines PER; it can
    exceed 1. ``wer`` is the share of words with at least one edit.
    """

    words: int
    wrong_words: int
    edits: int
    gold_segments: int

    @property
    def per(self) -> float:
        return self.edits / self.gold_segments

    @property
    def wer(self) -> float:
        return self.wrong_words / self.words


def accuracy(words: Iterable[WordAccuracy]) -> Accuracy:
    """Sum up words; raises ValueError without any."""
    rows = list(words)
    if not rows:
        raise ValueError("no word has a gold pronunciation")
    return Accuracy(
        words=len(rows),
        wrong_words=sum(row.edits > 0 for row in rows),
        edits=sum(row.edits for row in rows),
        gold_segments=sum(row.gold_length for row in rows),
    )
