"""Load the IPA lexicons of the ``gruut-lang-*`` packages, cleaned, with their fixed split by word.

A word is held out by the hash of its language and spelling alone. So the split depends on neither the order of a
lexicon nor a random state, and all pronunciations of a word are on one side.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.installation import install_command
from harness.models.g2p.languages import GRUUT_LANGUAGES

HELD_OUT_PER_LANGUAGE = 500
CARD_WORDS = 200
DEFAULT_WORDS = 10
MAX_WORD_BYTES = 40
MAX_PRONUNCIATION_BYTES = 60


class LexiconMissing(HarnessError):
    """A ``gruut-lang-*`` package is not installed."""

    cure = install_command("training")


@dataclass(frozen=True)
class Entry:
    """Hold a word and its pronunciations, the lexicon's first choice first."""

    language: str
    word: str
    pronunciations: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Hold one language's entries. ``held_out`` is ordered by hash: its first n are the same for every n."""

    train: list[Entry]
    held_out: list[Entry]


def load_split(language: str) -> Split:
    """Return the entries of one language code; raises LexiconMissing, or KeyError for an unknown code."""
    ranked = sorted(_entries(language), key=lambda entry: _rank(entry.language, entry.word))
    return Split(train=ranked[HELD_OUT_PER_LANGUAGE:], held_out=ranked[:HELD_OUT_PER_LANGUAGE])


def _rank(language: str, word: str) -> bytes:
    return hashlib.sha256(f"{language}\t{word}".encode()).digest()


def _entries(language: str) -> Iterator[Entry]:
    pronunciations: dict[str, list[str]] = defaultdict(list)
    for raw_word, raw_phonemes in _rows(GRUUT_LANGUAGES[language]):
        word, pronunciation = normalize_word(raw_word), normalize_pronunciation(raw_phonemes)
        if _usable(word, pronunciation) and pronunciation not in pronunciations[word]:
            pronunciations[word].append(pronunciation)
    for word, alternatives in pronunciations.items():
        if alternatives:
            yield Entry(language, word, tuple(alternatives))


def _rows(package_language: str) -> list[tuple[str, str]]:
    try:
        database = importlib.resources.files(f"gruut_lang_{package_language}") / "lexicon.db"
    except ModuleNotFoundError as error:
        raise LexiconMissing(
            f"no lexicon for {package_language!r}: the package gruut-lang-{package_language} is not installed"
        ) from error
    with (
        importlib.resources.as_file(database) as path,
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute(
            "SELECT word, phonemes FROM word_phonemes ORDER BY word, pron_order, phonemes"
        ).fetchall()


def normalize_word(word: str) -> str:
    return unicodedata.normalize("NFC", word).lower()


def normalize_pronunciation(phonemes: str) -> str:
    """Return space-separated phonemes as one IPA string.

    The Swedish lexicon writes its stress mark as an apostrophe.
    """
    return unicodedata.normalize("NFC", phonemes.replace(" ", "").replace("'", "ˈ"))


def _usable(word: str, pronunciation: str) -> bool:
    """Return whether a word and its pronunciation are usable.

    A word has only letters and inner apostrophes or hyphens; numbered variants, digits and silence markers are refused.
    """
    letters = all(unicodedata.category(c)[0] in "LM" for c in word.replace("'", "").replace("-", ""))
    return (
        letters
        and len(word) >= 2
        and word[0] not in "'-"
        and len(word.encode()) <= MAX_WORD_BYTES
        and 0 < len(pronunciation.encode()) <= MAX_PRONUNCIATION_BYTES
        and "SIL" not in pronunciation
    )


def write_words(folder: Path) -> None:
    """Write ``held_out.tsv`` (200 words a language) and ``default.tsv`` (the first 10 of each)."""
    splits = {language: load_split(language) for language in GRUUT_LANGUAGES}
    for name, count in (("held_out.tsv", CARD_WORDS), ("default.tsv", DEFAULT_WORDS)):
        lines = [
            f"{entry.language}\t{entry.word}\t{','.join(entry.pronunciations)}\n"
            for split in splits.values()
            for entry in split.held_out[:count]
        ]
        (folder / name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    write_words(Path(__file__).parent / "words")
