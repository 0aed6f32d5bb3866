"""Load the words of a run: read from a file and checked, or the shipped held-out ones."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError

SHIPPED_FOLDER = Path(__file__).parent / "words"
DEFAULT_WORDS = SHIPPED_FOLDER / "default.tsv"
"""Ten held-out words of each language."""
HELD_OUT_WORDS = SHIPPED_FOLDER / "held_out.tsv"
"""Two hundred held-out words of each language, on which the model card's figures are measured."""

LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")
_FORBIDDEN = {"\t": "a tab", "\n": "a newline", "\r": "a carriage return", "\0": "a NUL"}


class BadWords(UsageError):
    """A word, or its file, cannot be used."""


@dataclass(frozen=True)
class Word:
    """Hold a word of a language and its gold pronunciations, if any are known."""

    language: str
    word: str
    pronunciations: tuple[str, ...] = ()


def default_words() -> list[Word]:
    return read_words(DEFAULT_WORDS)


def read_words(path: Path, language: str | None = None) -> list[Word]:
    """Read words from a UTF-8 file, one a line; blank lines are skipped.

    Tabs separate the columns: ``word``, ``word pronunciation`` (CharsiuG2P's format; both need ``language``) or
    ``language word pronunciation``. Commas separate several pronunciations. ``language`` chooses that language from a
    file of three columns. Raises BadWords naming the file and line.
    """
    lines = _lines(path)
    words = [_parse(line, language, f"{path}:{number}") for number, line in lines]
    if not words:
        raise BadWords(f"{path} holds no words", cure="write one word a line: lang<TAB>word<TAB>pronunciation")
    chosen = [word for word in words if language is None or word.language == language]
    if not chosen:
        found = ", ".join(sorted({word.language for word in words}))
        raise BadWords(f"{path} holds no words of {language!r}", cure=f"it has {found}")
    return chosen


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadWords(f"cannot read {path}: {error.strerror}", cure="check the path given to --words") from error
    numbered = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = line.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise BadWords(
                f"{path}:{number} is not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}",
                cure="save the file as UTF-8",
            ) from error
        if text.strip():
            numbered.append((number, text))
    return numbered


def _parse(line: str, language: str | None, place: str) -> Word:
    columns = line.split("\t")
    if len(columns) == 3:
        code, word, gold = columns
    elif len(columns) <= 2:
        if language is None:
            raise BadWords(f"{place} names no language", cure="add --lang, or a first column with the language")
        code, word, gold = language, columns[0], columns[1] if len(columns) == 2 else ""
    else:
        raise BadWords(f"{place} has {len(columns)} columns", cure="give at most lang, word and pronunciation")
    check_language(code, None, place)
    check_word(word, place)
    return Word(code, word, tuple(p for p in (part.strip() for part in gold.split(",")) if p))


def check_word(word: str, place: str = "") -> None:
    """Raise BadWords for an empty word, or for a control character that the formats cannot carry."""
    where = f"{place}: " if place else ""
    if not word.strip():
        raise BadWords(f"{where}the word is empty", cure="remove the line, or write a word")
    for character, name in _FORBIDDEN.items():
        if character in word:
            raise BadWords(f"{where}the word {word!r} contains {name}", cure="give one word without control characters")


def check_language(code: str, known: Collection[str] | None, place: str = "") -> None:
    """Raise BadWords unless the code has a language code's form and, if ``known`` is given, is one of them."""
    where = f"{place}: " if place else ""
    if not LANGUAGE.fullmatch(code) or (known is not None and code not in known):
        cure = f"known are {', '.join(sorted(known))}" if known else "use a code such as eng-us or fra"
        raise BadWords(f"{where}unknown language {code!r}", cure=cure)


def check_words(
    words: list[Word], *, languages: Collection[str] | None, max_input_bytes: int, prompt_space: bool = True
) -> None:
    """Raise BadWords for the first word that a compiled model cannot take because of its language or its size.

    The limit counts the model's input in UTF-8 bytes, ``<language>: `` included.
    """
    for word in words:
        check_word(word.word)
        check_language(word.language, languages, place=repr(word.word))
        size, prefix = len(word.word.encode()), len(f"<{word.language}>:") + prompt_space
        if size + prefix > max_input_bytes:
            raise BadWords(
                f"the word {word.word!r} has {size} bytes and its prefix {prefix}: "
                f"{size + prefix} are more than the limit of {max_input_bytes}",
                cure="leave it out, or compile with a larger --max-input-bytes",
            )
