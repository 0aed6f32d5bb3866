"""Check whether an answer is right: parity with the reference, accuracy against gold pronunciations. Pure functions."""

from __future__ import annotations

from harness.validate.parity import (
    DEFAULT_TOLERANCE,
    Decoded,
    ItemParity,
    Verdict,
    answerless,
    compare_decodings,
    compare_forced,
    decodings,
)
from harness.validate.phonemes import Accuracy, WordAccuracy, accuracy, edit_distance, segments, word_accuracy
from harness.validate.policy import CLOSE, EXACT, TolerancePolicy

__all__ = [
    "CLOSE",
    "DEFAULT_TOLERANCE",
    "EXACT",
    "Accuracy",
    "Decoded",
    "ItemParity",
    "TolerancePolicy",
    "Verdict",
    "WordAccuracy",
    "accuracy",
    "answerless",
    "compare_decodings",
    "compare_forced",
    "decodings",
    "edit_distance",
    "segments",
    "word_accuracy",
]
