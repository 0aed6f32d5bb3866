"""Tensors against PyTorch's, in the three ways a model can ask for."""

from __future__ import annotations

import numpy as np
import pytest

from harness.models import ExactTokens, Tolerances, TopK
from harness.validate import Verdict
from harness.validate.tensors import compare_item

SCORES = np.array([[0.1, 0.9, 0.5, 0.5004, 0.2]], np.float32)


def verdict(comparison: Tolerances | TopK | ExactTokens, expected: object, got: object, name: str = "y") -> Verdict:
    one, other = np.asarray(expected), np.asarray(got)
    return compare_item("m", "i", comparison, {name: one}, {name: other}).verdict


def test_numbers_are_held_to_a_share_of_the_largest() -> None:
    expected = np.array([1000.0, 0.0], np.float32)
    within, beyond = expected + np.float32(0.09), expected + np.float32(0.11)
    assert verdict(Tolerances(relative=1e-4, absolute=0), expected, within) is Verdict.EQUAL
    found = compare_item("m", "i", Tolerances(relative=1e-4, absolute=0), {"y": expected}, {"y": beyond})
    assert found.verdict is Verdict.MISMATCH
    assert "2 of 2 elements of y are off by more than 0.1" in found.describe()
    assert found.max_error == pytest.approx(0.11, rel=1e-2)
    assert found.relative_error == pytest.approx(1.1e-4, rel=1e-2)


def test_what_is_no_number_is_equal_to_itself_only() -> None:
    odd = np.array([np.nan, np.inf, 1.0], np.float32)
    assert verdict(Tolerances(), odd, odd.copy()) is Verdict.EQUAL
    for changed in ([1.0, np.inf, 1.0], [np.nan, -np.inf, 1.0], [np.nan, np.inf, np.nan]):
        assert verdict(Tolerances(), odd, np.array(changed, np.float32)) is Verdict.MISMATCH


def test_integers_have_no_tolerance() -> None:
    assert verdict(Tolerances(relative=1), [5, 6], [5, 6]) is Verdict.EQUAL
    assert verdict(Tolerances(relative=1), [5, 6], [5, 7]) is Verdict.MISMATCH
    assert verdict(Tolerances(), [True], [False]) is Verdict.MISMATCH


def test_another_shape_or_type_is_a_mismatch() -> None:
    one = np.zeros((2, 3), np.float32)
    for other in (np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float64)):
        assert verdict(Tolerances(relative=1), one, other) is Verdict.MISMATCH
    assert compare_item("m", "i", Tolerances(), {"y": one}, {"z": one}).detail == "there is no y"


def test_the_best_are_in_pytorchs_order() -> None:
    assert verdict(TopK(k=3), SCORES, SCORES * 1.01) is Verdict.EQUAL
    exchanged = SCORES[:, [0, 1, 3, 2, 4]]
    assert verdict(TopK(k=3, tie=1e-3), SCORES, exchanged) is Verdict.TIE
    assert verdict(TopK(k=3, tie=1e-5), SCORES, exchanged) is Verdict.MISMATCH
    assert verdict(TopK(k=1), SCORES, exchanged) is Verdict.EQUAL
    assert verdict(TopK(k=9), SCORES, SCORES) is Verdict.MISMATCH
    assert verdict(TopK(k=1), SCORES, SCORES * np.nan) is Verdict.MISMATCH


def test_tokens_are_ids_or_the_best_scores() -> None:
    assert verdict(ExactTokens(), [[3, 4]], [[3, 4]]) is Verdict.EQUAL
    assert verdict(ExactTokens(), [[3, 4]], [[3, 5]]) is Verdict.MISMATCH
    near = np.array([[0.5, 0.5004]], np.float32)
    assert verdict(ExactTokens(), near, near[:, ::-1]) is Verdict.TIE
    assert verdict(ExactTokens(tie=0), near, near[:, ::-1]) is Verdict.MISMATCH


def test_one_of_several_outputs_decides() -> None:
    expected = {"hidden": np.ones(3, np.float32), "logits": SCORES}
    got = {"hidden": np.zeros(3, np.float32), "logits": SCORES}
    assert compare_item("m", "i", TopK(k=2, output="logits"), expected, got).verdict is Verdict.EQUAL
    assert compare_item("m", "i", Tolerances(), expected, got).verdict is Verdict.MISMATCH


def test_passes_that_differ_are_unstable_and_nothing_is_missing() -> None:
    answer = {"y": SCORES}
    assert compare_item("m", "i", TopK(), answer, answer, digests=["a", "a", "b"]).verdict is Verdict.UNSTABLE
    assert compare_item("m", "i", TopK(), answer, None).verdict is Verdict.MISSING
