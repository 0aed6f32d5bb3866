"""Words files: both formats, and everything that can be wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.core.errors import ExitCode
from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.word_list import HELD_OUT_WORDS, BadWords, Word, check_words, default_words, read_words


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_the_shipped_words_are_ten_of_each_language_and_held_out() -> None:
    words = default_words()
    assert Counter(w.language for w in words) == dict.fromkeys(GRUUT_LANGUAGES, 10)
    held_out = read_words(HELD_OUT_WORDS)
    assert Counter(w.language for w in held_out) == dict.fromkeys(GRUUT_LANGUAGES, 200)
    assert set(words) <= set(held_out)
    assert all(w.pronunciations for w in held_out)
    check_words(held_out, languages=GRUUT_LANGUAGES, max_input_bytes=64)


def test_charsius_two_columns_need_a_language(tmp_path: Path) -> None:
    path = write(tmp_path / "w.tsv", "char\tˈtʃɑɹ,ˈtʃæɹ\nsiu\n")
    assert read_words(path, "eng-us") == [Word("eng-us", "char", ("ˈtʃɑɹ", "ˈtʃæɹ")), Word("eng-us", "siu")]
    with pytest.raises(BadWords, match=r"w\.tsv:1 names no language") as caught:
        read_words(path)
    assert "--lang" in caught.value.cure


def test_three_columns_can_be_narrowed(tmp_path: Path) -> None:
    path = write(tmp_path / "w.tsv", "fra\toui\twi\r\n\nger\tja\tjaː\r\n")
    assert read_words(path) == [Word("fra", "oui", ("wi",)), Word("ger", "ja", ("jaː",))]
    assert read_words(path, "ger") == [Word("ger", "ja", ("jaː",))]
    with pytest.raises(BadWords, match="no words of 'spa'") as caught:
        read_words(path, "spa")
    assert "fra, ger" in caught.value.cure


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "holds no words"),
        (b"\n \n", "holds no words"),
        (b"fra\toui\twi\nfra\t\xff\xfe\tx\n", r"w\.tsv:2 is not UTF-8: byte 0xff at column 5"),
        (b"fra\t\twi\n", r"w\.tsv:1: the word is empty"),
        (b"fra\ta\0b\twi\n", r"w\.tsv:1: the word 'a\\x00b' contains a NUL"),
        (b"fra\ta\rb\twi\n", r"contains a carriage return"),
        (b"fra\ta\tb\tc\n", r"w\.tsv:1 has 4 columns"),
        (b"FR!\toui\twi\n", r"w\.tsv:1: unknown language 'FR!'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, data: bytes, named: str) -> None:
    with pytest.raises(BadWords, match=named) as caught:
        read_words(write(tmp_path / "w.tsv", data))
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.cure


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadWords, match=r"cannot read .*nothing\.tsv"):
        read_words(tmp_path / "nothing.tsv")


@pytest.mark.parametrize(
    ("word", "named"),
    [
        (Word("eng-us", "x" * 60), "has 60 bytes and its prefix 10: 70 are more than the limit of 64"),
        (Word("eng-us", "ʃ" * 28), "has 56 bytes and its prefix 10: 66 are more than the limit of 64"),
        (Word("eng-us", ""), "is empty"),
        (Word("eng-us", "a\tb"), "contains a tab"),
        (Word("eng-us", "a\nb"), "contains a newline"),
        (Word("xyz", "word"), "unknown language 'xyz'"),
    ],
)
def test_words_a_model_cannot_take(word: Word, named: str) -> None:
    with pytest.raises(BadWords, match=named):
        check_words([word], languages=["eng-us", "fra"], max_input_bytes=64)


def test_an_unknown_language_lists_the_known_and_passes_where_any_is_taken() -> None:
    with pytest.raises(BadWords) as caught:
        check_words([Word("xyz", "word")], languages=["eng-us", "fra"], max_input_bytes=64)
    assert "eng-us, fra" in caught.value.cure
    check_words([Word("xyz", "word")], languages=None, max_input_bytes=64)


def test_the_limit_itself_is_allowed() -> None:
    check_words([Word("eng-us", "x" * 54)], languages=None, max_input_bytes=64)
    check_words([Word("eng-us", "x" * 55)], languages=None, max_input_bytes=64, prompt_space=False)
