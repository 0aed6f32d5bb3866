"""Many questions at once: what is left of a finding when forty cells were looked at, and when it was seen twice."""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Each p-value as the smallest false discovery rate at which it is still found, in the given order.

    Benjamini & Hochberg (1995), scipy's ``false_discovery_control``. Among cells whose adjusted value is at most
    0.05, at most 5 % are expected to be false, also if the cells go up and down together (Benjamini & Yekutieli
    2001, positive dependence), as metrics of one device do.
    """
    from scipy import stats

    if not p_values:
        return ()
    return tuple(float(p) for p in stats.false_discovery_control(p_values, method="bh"))


def combined(first: float, second: float) -> float:
    """The p-value of two independent sessions together: Fisher's product (1932), scipy's ``combine_pvalues``.

    For a second session that is only measured if the first one raised a suspicion, this is the combination test of
    Bauer & Köhne (1994), which stays valid for that if cells without a suspicion are given a p-value of 1.
    """
    from scipy import stats

    return float(stats.combine_pvalues([first, second], method="fisher").pvalue)
