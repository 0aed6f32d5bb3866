"""The figures of threads.py from calls, and its options."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmarks.threads import Timed, compare
from harness.core.errors import UsageError


def test_times_are_medians_of_rounds_and_ratios_are_of_one_round() -> None:
    slow, fast = [[4_000_000, 9_000_000, 4_000_000], [8_000_000]], [[2_000_000], [4_000_000, 4_000_000]]
    timed = Timed("m", rounds={1: slow, 2: fast})
    assert (timed.milliseconds(1), timed.milliseconds(2)) == (6.0, 3.0)
    assert timed.times_faster(2) == 2.0


@pytest.mark.parametrize(
    ("models", "threads", "message"),
    [
        ("ghost", "2", "no model 'ghost'"),
        ("u-net", "two", "not a list of numbers"),
        ("u-net", "1", "compared with itself"),
        ("u-net", "0,2", "compared with itself"),
    ],
)
def test_wrong_usage(models: str, threads: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare(Console(), models, threads, 1, 1, 0, 0, False, 1.0, None)
