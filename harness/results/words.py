"""What a run keeps of its words, so that two runs on the same ones can be told."""

from __future__ import annotations

import hashlib

from harness.models.words import Word
from harness.results.schema import WordsFacts


def words_facts(words: list[Word], source: str) -> WordsFacts:
    digest = hashlib.sha256()
    for word in words:
        digest.update("\t".join([word.language, word.word, *word.pronunciations]).encode() + b"\n")
    languages = sorted({word.language for word in words})
    return WordsFacts(count=len(words), languages=languages, sha256=digest.hexdigest(), source=source)
