"""Segmentation and error rates, against rules written down by hand and independent computations."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.lexicon import load_split
from harness.validate import accuracy, edit_distance, segments, word_accuracy

IPA = "abdeimnostuʃʒɔəʔ" + "ːʲʰʷˤ" + "\u0303\u0361\u035c\u032f\u0327" + "ᵐⁿᵑᶬ" + "ˈˌ²" + " ." + "˥˩˞õç"
ipa_text = st.text(alphabet=IPA, max_size=14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("kæt", ["k", "æ", "t"]),
        ("ˈt͡ʃiːz", ["ˈ", "t͡ʃ", "iː", "z"]),
        ("t͜ʃ", ["t͜ʃ"]),
        ("t͡s̠a", ["t͡s̠", "a"]),
        ("t̪͡s", ["t̪͡s"]),
        ("zdravstvʲ", ["z", "d", "r", "a", "v", "s", "t", "vʲ"]),
        ("pʲːo", ["pʲː", "o"]),
        ("sˤʷa", ["sˤʷ", "a"]),
        ("mᵐbaⁿdu", ["m", "ᵐb", "a", "ⁿd", "u"]),
        ("ᵑɡᶬv", ["ᵑɡ", "ᶬv"]),
        ("ⁿd͡ʒa", ["ⁿd͡ʒ", "a"]),
        ("taⁿ", ["t", "a", "ⁿ"]),
        ("ʰta", ["ʰt", "a"]),
        ("²ˈfluːˌa", ["²", "ˈ", "f", "l", "uː", "ˌ", "a"]),
        ("aɪ̯", ["a", "ɪ̯"]),
        ("ɑ̃", ["ɑ̃"]),
        ("o\u0303", ["õ"]),
        ("ma˥˩", ["m", "a", "˥", "˩"]),
        ("ɚa˞", ["ɚ", "a˞"]),
        ("a b  c", ["a", "b", "c"]),
        ("tʼʔ", ["tʼ", "ʔ"]),
        ("t\u0361", ["t\u0361"]),
        ("t\u0361 s", ["t\u0361", "s"]),
    ],
)
def test_segments(text: str, expected: list[str]) -> None:
    assert segments(text) == [unicodedata.normalize("NFC", segment) for segment in expected]


@given(ipa_text)
def test_segmentation_loses_nothing_but_white_space(text: str) -> None:
    joined = unicodedata.normalize("NFD", "".join(segments(text)))
    assert sorted(joined) == sorted(unicodedata.normalize("NFD", "".join(text.split())))
    assert all(segments(text))


@given(st.text(max_size=20))
def test_segmentation_takes_any_text(text: str) -> None:
    assert all(segments(text))


@given(ipa_text)
def test_composed_and_decomposed_are_equal(text: str) -> None:
    assert segments(unicodedata.normalize("NFC", text)) == segments(unicodedata.normalize("NFD", text))


@given(ipa_text)
def test_a_segment_is_one_segment(text: str) -> None:
    assert all(segments(segment) == [segment] for segment in segments(text))


@pytest.mark.parametrize("language", ["swa", "eng-us", "swe", "ger"])
def test_the_lexicons_own_segmentation(language: str) -> None:
    """gruut separates phonemes by spaces; a stress or length mark it writes with its vowel is ours to split."""
    assert language in GRUUT_LANGUAGES
    for entry in load_split(language).held_out[:100]:
        for pronunciation in entry.pronunciations:
            assert "".join(segments(pronunciation)) == pronunciation


def slow_distance(one: list[str], other: list[str]) -> int:
    """Wagner & Fischer (1974), written out."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
    return row[-1]


units = st.lists(st.sampled_from(["t", "t͡ʃ", "tʲ", "aː", "a", "ˈ"]), max_size=9)


@given(units, units)
def test_edit_distance_is_wagner_and_fischers(one: list[str], other: list[str]) -> None:
    assert edit_distance(one, other) == slow_distance(one, other)


@given(units, units, units)
def test_edit_distance_is_a_metric(a: list[str], b: list[str], c: list[str]) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_error_rates_by_hand() -> None:
    rows = [
        word_accuracy("kæt", ["kæt"]),  # 0 of 3
        word_accuracy("dɔɡ", ["dɒɡ", "dɔɡz", "dɔɡ"]),  # 0 of 3, the third alternative
        word_accuracy("t͡ʃiz", ["t͡ʃiːz"]),  # 1 of 3
        word_accuracy("", ["ab"]),  # 2 of 2
    ]
    found = accuracy(rows)
    assert (found.edits, found.gold_segments, found.wrong_words, found.words) == (3, 11, 2, 4)
    assert found.per == pytest.approx(3 / 11)
    assert found.wer == 0.5
    assert rows[1].gold == "dɔɡ"


def test_gold_is_needed() -> None:
    with pytest.raises(ValueError, match="no gold"):
        word_accuracy("a", [])
    with pytest.raises(ValueError, match="no phoneme"):
        word_accuracy("a", [" "])
    with pytest.raises(ValueError, match="no word"):
        accuracy([])
