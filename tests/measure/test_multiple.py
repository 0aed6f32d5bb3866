"""Corrections for many cells against the papers' own numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.multiple import adjusted, combined

# Benjamini & Hochberg (1995), section 4.1: fifteen comparisons of a trial, of which the first four are significant.
PUBLISHED = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip


def test_the_papers_example() -> None:
    assert [p <= 0.05 for p in adjusted(PUBLISHED)] == [True] * 4 + [False] * 11
    assert adjusted(PUBLISHED)[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjusted([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_the_step_up_rule_by_its_definition(p_values: list[float]) -> None:
    rejected = 0
    for rank, p in enumerate(sorted(p_values), 1):
        if p <= 0.05 * rank / len(p_values):
            rejected = rank
    # Where a product lands on the level itself, rounding decides.
    if not any(abs(p - 0.05 * rank / len(p_values)) < 1e-12 for rank, p in enumerate(sorted(p_values), 1)):
        assert sum(p <= 0.05 for p in adjusted(p_values)) == rejected
    assert all(q >= p for q, p in zip(adjusted(p_values), p_values, strict=True))


def test_two_sessions_together() -> None:
    # The chance that a product of two uniform numbers is below x is x (1 - ln x).
    x = 0.01 * 0.002
    assert combined(0.01, 0.002) == pytest.approx(x * (1 - math.log(x)))
    assert combined(1.0, 1.0) == pytest.approx(1.0)


def test_one_regression_among_hundreds_of_cells_survives_two_sessions_but_not_one() -> None:
    smallest = 1 / 1024
    assert adjusted([smallest] + [1.0] * 199)[0] > 0.05
    assert adjusted([combined(smallest, smallest)] + [1.0] * 199)[0] < 0.05
