"""A sample is fixed, and each beginning of it is spread."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.measure.sampling import spread_order
from harness.models.g2p.word_list import default_words

WORDS = [(word.language, len(word.word.encode())) for word in default_words()]
KNOWN = [7, 14, 24, 37, 43, 52, 64, 75, 83, 92, 103, 116, 128]
"""Of the shipped words. Runs of different days have to time the same ones: change this with a reason."""


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=30))
def test_every_item_once_and_always_in_the_same_order(items: list[tuple[str, int]]) -> None:
    order = spread_order(items)
    assert sorted(order) == list(range(len(items)))
    assert order == spread_order(list(items))


def test_languages_take_turns() -> None:
    order = spread_order(WORDS)
    for turns in (1, 2, 10):
        taken = Counter(WORDS[at][0] for at in order[: 13 * turns])
        assert set(taken.values()) == {turns}
        assert len(taken) == 13


def test_lengths_of_a_sample_are_spread() -> None:
    sizes = sorted(size for _, size in WORDS)
    thirds = [sizes[len(sizes) * at // 3] for at in (1, 2)]
    sampled = [WORDS[at][1] for at in spread_order(WORDS)[:13]]
    assert all(
        sum(low <= size < high for size in sampled) >= 2
        for low, high in zip([0, *thirds], [*thirds, 1000], strict=True)
    )
    one_kind = [("", size) for size in range(100)]
    for count in (4, 7, 13):
        found = sorted(one_kind[at][1] for at in spread_order(one_kind)[:count])
        assert max(b - a for a, b in zip([0, *found], [*found, 99], strict=True)) < 2.5 * 100 / count


def test_the_shipped_words_sample_is_the_one_of_every_day() -> None:
    assert sorted(spread_order(WORDS)[:13]) == KNOWN
