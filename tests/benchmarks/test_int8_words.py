"""The words of the int8 benchmark, and its intervals."""

from __future__ import annotations

import pytest

from benchmarks.int8_words import LENGTHS, Agreed, by_language, held_out, letters, pseudo_words
from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.word_list import HELD_OUT_WORDS, check_words, default_words, read_words

pytestmark = pytest.mark.pure


def test_pseudo_words_are_of_all_alphabets_and_the_same_for_the_same_seed() -> None:
    found = by_language(pseudo_words(30, seed=4))
    assert set(found) == set(GRUUT_LANGUAGES)
    known = by_language(read_words(HELD_OUT_WORDS))
    for language, words in found.items():
        assert len(words) == 30
        assert {letter for word in words for letter in word.word} <= set(letters(known[language]))
        assert all(LENGTHS[0] <= len(word.word) <= LENGTHS[1] for word in words)
    everything = pseudo_words(30, seed=4)
    check_words(everything, languages=set(GRUUT_LANGUAGES), max_input_bytes=64)
    assert everything == pseudo_words(30, seed=4) != pseudo_words(30, seed=5)


def test_held_out_words_are_none_of_those_that_decide_the_rounding() -> None:
    found = held_out(25)
    assert len(found) == 25 * len(GRUUT_LANGUAGES)
    shipped = {(word.language, word.word) for word in default_words()}
    assert shipped.isdisjoint((word.language, word.word) for word in found)


def test_the_interval_is_the_exact_one() -> None:
    found = Agreed.of("words", [True] * 98 + [False] * 6)
    assert (found.words, found.equal) == (104, 98)
    assert found.share == pytest.approx(0.9423, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((0.8787, 0.9785), abs=1e-3)
    assert Agreed.of("words", [True] * 20).high == 1.0
