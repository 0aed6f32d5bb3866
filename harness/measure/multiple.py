"""Correct for many questions at once: for looking at forty cells, and for seeing a finding twice."""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return each p-value as the smallest false discovery rate at which it is still found, in the given order.

    Benjamini & Hochberg (1995), scipy's ``false_discovery_control``. Among cells whose adjusted value is at most
    0.05, at most 5 % are expected to be false, also if the cells go up and down together (Benjamini & Yekutieli
    2001, positive dependence), as metrics of one device do.
    """
    from scipy import stats

    if not p_values:
        return ()
    return tuple(float(p) for p in stats.false_discovery_control(p_values, method="bh"))


def combined(first: float, second: float) -> float:
    """Return the p-value of two independent sessions together: Fisher's product (1932), scipy's ``combine_pvalues``.

    This is the combination test of Bauer & Köhne (1994) for a second session that is only measured after a suspicion in
    the first. It stays valid if cells without a suspicion get a p-value of 1.
    """
    from scipy import stats

    return float(stats.combine_pvalues([first, second], method="fisher").pvalue)
