"""Verdicts of single words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.protocol.schema import WorkItem
from harness.results import ParityLine
from harness.results.summarize import parity_summary
from harness.validate import Decoded, ItemParity, Verdict, compare_decodings, compare_forced
from harness.validate.parity import first_divergence

ITEM = WorkItem(id="w0", workload="g2p", input="", label="word", subset="eng-us")
WANTED = Decoded((100, 101, 102, 1), "abc", (5.0, 4.0, 0.0005, 3.0))


def compare(*observed: Decoded, wanted: Decoded = WANTED) -> ItemParity:
    return compare_decodings(ITEM, wanted, observed)


def test_no_answer_is_one_whatever_the_passes_before_said() -> None:
    row = compare_decodings(ITEM, WANTED, [WANTED], no_answer="its logits hold NaN")
    assert row.verdict is Verdict.NO_ANSWER
    assert row.verdict.fails
    assert row.describe() == "eng-us 'word': no answer, expected 'abc': its logits hold NaN"


def test_equal_ids_are_equal_and_the_numeric_error_is_measured() -> None:
    row = compare(Decoded((100, 101, 102, 1), "abc", (5.0, 4.00002, 0.0005, 3.0)))
    assert row.verdict is Verdict.EQUAL
    assert row.step is None
    assert row.margin_error == pytest.approx(2e-5)


@pytest.mark.parametrize(
    ("got", "verdict", "step"),
    [
        (Decoded((100, 101, 77, 1), "abx", (5.0, 4.0, 0.0004, 1.0)), Verdict.TIE, 2),
        (Decoded((100, 101, 77, 1), "abx"), Verdict.TIE, 2),
        (Decoded((100, 101, 77, 1), "abx", (5.0, 4.0, 3.0, 1.0)), Verdict.MISMATCH, 2),  # the runner was sure
        (Decoded((100, 77, 102, 1), "axc", (5.0, 0.0001, 0.1, 3.0)), Verdict.MISMATCH, 1),  # PyTorch was sure
        (Decoded((100, 101, 102), "abc", (5.0, 4.0, 0.0005)), Verdict.MISMATCH, 3),  # cut off
        (Decoded((100, 101, 102, 1, 1), "abc"), Verdict.MISMATCH, 4),  # longer: no margin there
        (Decoded((100, 101, 102, 1), "abd"), Verdict.TEXT, None),
        (Decoded((), ""), Verdict.MISMATCH, 0),
    ],
)
def test_verdicts(got: Decoded, verdict: Verdict, step: int | None) -> None:
    row = compare(got)
    assert (row.verdict, row.step) == (verdict, step)


@pytest.mark.parametrize(
    ("tokens", "margins", "verdict", "step", "equal"),
    [
        ((100, 101, 102, 1), (5.0, 4.0, 0.0005, 3.0), Verdict.EQUAL, None, 4),
        ((100, 101, 77, 1), (5.0, 4.0, 0.0004, 3.0), Verdict.TIE, 2, 3),
        # The first of the two that differ is a tie, and what is behind it is compared all the same.
        ((100, 101, 77, 2), (5.0, 4.0, 0.0004, 0.0001), Verdict.MISMATCH, 3, 2),
        ((7, 101, 77, 1), (0.0, 4.0, 0.0004, 3.0), Verdict.MISMATCH, 0, 2),
        ((100, 101, 77, 1), (5.0, 4.0, 2.0, 3.0), Verdict.MISMATCH, 2, 3),
    ],
)
def test_every_step_behind_pytorchs_tokens_is_compared(
    tokens: tuple[int, ...], margins: tuple[float, ...], verdict: Verdict, step: int | None, equal: int
) -> None:
    wanted = Decoded(WANTED.token_ids, WANTED.text, WANTED.margins, (-0.1, -0.2, -0.3, -0.4))
    got = Decoded(tokens, "text", margins, (-0.5, -0.5, -0.5, -0.1), None, (0.0, 0.25, 0.5, 0.25))
    row = compare_forced(ITEM, wanted, got, tolerance=0.001)
    assert (row.verdict, row.step, row.tokens, row.tokens_equal) == (verdict, step, 4, equal)
    assert row.log_probability == pytest.approx(-0.4)
    assert row.expected_log_probability == pytest.approx(-0.25)
    assert row.kl == 0.25


def test_an_answer_that_was_not_fed_is_compared_until_it_differs() -> None:
    for got in (Decoded((100, 77, 102, 1), "axc"), Decoded((100, 77), "ax", (1.0, 1.0), (-1.0, -1.0))):
        row = compare_forced(ITEM, WANTED, got, tolerance=0.001)
        assert (row.verdict, row.step, row.tokens) == (Verdict.MISMATCH, 1, None)
    assert compare_forced(ITEM, WANTED, None, tolerance=0.001).verdict is Verdict.MISSING
    assert compare_forced(ITEM, WANTED, None, tolerance=0.001, no_answer="NaN").verdict is Verdict.NO_ANSWER


def test_the_perplexity_of_several_items_is_that_of_all_their_steps() -> None:
    rows = [
        ParityLine(workload="lm", item=f"i{count}", label="i", verdict=Verdict.EQUAL, tokens=count, tokens_equal=count,
                   log_probability=mean, expected_log_probability=mean / 2, kl=-mean / 10)
        for count, mean in ((1, -4.0), (3, -1.0))
    ]  # fmt: skip
    found = parity_summary([*rows, ParityLine(workload="lm", item="other", label="o", verdict=Verdict.MISSING)])
    assert (found.tokens, found.tokens_equal) == (4, 4)
    # Of the probabilities e^-4 and three times e^-1.
    assert found.perplexity == pytest.approx((math.exp(4) * math.exp(1) ** 3) ** 0.25)
    assert found.expected_perplexity == pytest.approx(math.sqrt((math.exp(4) * math.exp(1) ** 3) ** 0.25))
    assert found.kl == pytest.approx((0.4 + 3 * 0.1) / 4)


def test_repetitions_that_disagree_are_unstable_even_if_one_is_right() -> None:
    row = compare(Decoded(WANTED.token_ids, "abc"), Decoded((100, 5, 1), "ax"), Decoded(WANTED.token_ids, "abc"))
    assert row.verdict is Verdict.UNSTABLE
    assert row.verdict.fails


def test_a_word_that_was_not_run_is_missing_and_not_a_failure() -> None:
    row = compare()
    assert row.verdict is Verdict.MISSING
    assert not row.verdict.fails


def test_a_failure_names_word_token_and_margin() -> None:
    row = compare(Decoded((100, 77, 102, 1), "axc", (5.0, 2.5, 0.1, 3.0)))
    assert row.describe() == (
        "eng-us 'word': mismatch at step 1: token 101 expected, 77 got "
        "(PyTorch's margin 4, the runner's 2.5); 'abc' became 'axc'"
    )


def test_counts() -> None:
    rows = [
        compare(Decoded((100, 101, 102, 1), "abc", (5.0, 4.00002, 0.0005, 3.0))),
        compare(Decoded((100, 101, 77, 1), "abx", (5.0, 4.0, 0.0004, 1.0))),
        compare(Decoded((1,), "")),
        compare(),
    ]
    found = parity_summary([ParityLine(**row.model_dump()) for row in rows])
    assert (found.items, found.failed, found.missing, found.by_verdict[Verdict.TIE]) == (4, 1, 1, 1)
    assert found.max_margin_error == pytest.approx(2e-5)


tokens = st.lists(st.integers(0, 3), max_size=6)


@given(tokens, tokens)
def test_first_divergence_is_where_the_common_prefix_ends(one: list[int], other: list[int]) -> None:
    step = first_divergence(one, other)
    if step is None:
        assert one == other
    else:
        assert one[:step] == other[:step]
        assert one[step : step + 1] != other[step : step + 1]
