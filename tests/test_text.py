"""Text from elsewhere that is shown on a terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from harness.text import printable, quoted


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert printable("\x1b[31m\x9b\u202e\r\x00") == "\\x1b[31m\\x9b\\u202e\\x0d\\x00"
    assert printable("a\nb\tc") == "a\nb\tc"
    assert printable("a\nb", lines=False) == "a\\x0ab"
    assert printable("\udcff") == "\\udcff"


def test_letters_of_every_language_stay() -> None:
    for text in ("kæt ‿ ʃa", "می‌خواهم", "東京", "क्‍ष", "naïve — “quoted” …", "×0.07 [0.06, 0.08]"):
        assert printable(text) == text


@given(st.text())
def test_nothing_gets_through(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    assert printable(shown) == shown


def test_long_names_are_cut() -> None:
    assert quoted("a b") == "'a b'"
    assert len(quoted("x" * 5000)) == 83
