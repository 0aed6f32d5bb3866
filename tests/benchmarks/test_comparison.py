"""The arithmetic of a comparison, on numbers small enough to check by hand."""

from __future__ import annotations

import pytest

from benchmarks import comparison
from benchmarks.comparison import Agreement, Answer, BatchTime, Row, Samples
from harness.models.g2p.word_list import Word

MS = 1_000_000


def filled(*rounds: list[int]) -> Samples:
    samples = Samples()
    for times in rounds:
        samples.add([BatchTime(ns * MS, (Answer((5, 6, 1), "ab"),)) for ns in times])
    return samples


def test_rounds_alternate_so_that_drift_cancels() -> None:
    names = ["a", "b", "c"]
    assert [comparison.round_order(names, index) for index in range(3)] == [names, ["c", "b", "a"], names]
    # A machine that slows down by one unit with every turn: over an even number of rounds all engines pay the same.
    turns = [name for index in range(4) for name in comparison.round_order(names, index)]
    assert len({sum(at for at, name in enumerate(turns) if name == one) for one in names}) == 1


def test_a_figure_is_the_median_over_words_of_the_median_over_rounds() -> None:
    # Words: median(1, 9, 2) = 2, median(4, 4, 40) = 4, median(7, 8, 6) = 7.
    samples = filled([1, 4, 7], [9, 4, 8], [2, 40, 6])
    assert comparison.ms_per_word(samples.ns, 1) == 4
    assert comparison.ms_per_word(samples.ns, 4) == 1
    with pytest.raises(ValueError, match="no samples"):
        comparison.ms_per_word([], 1)


def test_every_round_has_the_same_batches() -> None:
    with pytest.raises(ValueError, match="zip"):
        filled([1, 2], [1])


def test_rows_hold_ratios_to_the_baselines_that_ran() -> None:
    samples = {"fast": filled([2, 2]), "base": filled([8, 8])}
    quality = {"fast": (Agreement(10, 9), 0.25)}
    table = comparison.rows(["base", "fast", "dead"], samples, 1, ("base", "dead"), quality, {"dead": "no compiler"})
    assert [row.engine for row in table] == ["fast", "base", "dead"]
    fast, base, dead = table
    assert (fast.ms_per_word, fast.ratios, fast.tokens_per_word, fast.per) == (2, {"base": 0.25}, 3, 0.25)
    assert base.ratios == {"base": 1.0}
    assert (dead.ms_per_word, dead.ratios, dead.failure) == (None, {}, "no compiler")


def test_agreement_ignores_the_end_token_and_what_follows() -> None:
    reference = [Answer((5, 6, 1), "ab"), Answer((5, 6), "ab"), Answer((7, 1), "c")]
    answers = [Answer((5, 6), "ab"), Answer((5, 6, 1, 0, 0), "ab"), Answer((8, 1), "d")]
    assert comparison.agreement(answers, reference) == Agreement(words=3, equal=2)
    with pytest.raises(ValueError, match="no words"):
        comparison.agreement([], [])
    with pytest.raises(ValueError, match="zip"):
        comparison.agreement(answers[:1], reference)


@pytest.mark.parametrize(("equal", "expected"), [(100, False), (99, False), (98, True)])
def test_an_engine_that_departs_too_often_is_suspect(equal: int, expected: bool) -> None:
    assert comparison.suspect(Row("x", agreement=Agreement(100, equal)), 0.99) is expected
    assert not comparison.suspect(Row("x"), 0.99)


def test_per_counts_words_with_pronunciations_only() -> None:
    words = [Word("fra", "a", ("ab", "xy")), Word("fra", "b")]
    assert comparison.phoneme_error_rate([Answer((), "ac"), Answer((), "zz")], words) == 0.5
    assert comparison.phoneme_error_rate([Answer((), "zz")], words[1:]) is None


def test_items_are_spread_over_the_whole_list() -> None:
    assert comparison.spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert comparison.spread(range(3), 2) == [0, 1]
    assert comparison.spread(range(3), 9) == [0, 1, 2]


def test_batches_hold_words_of_similar_length_and_are_full() -> None:
    words = [Word("fra", "a" * length) for length in (5, 1, 4, 2, 3)]
    assert [[len(word.word) for word in batch] for batch in comparison.batches_of(words, 2)] == [[1, 2], [3, 4]]
    assert comparison.batches_of(words, 1) == [[word] for word in words]
    assert comparison.batches_of(words, 6) == []
