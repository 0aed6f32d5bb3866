"""Compare a model's tensors with PyTorch's by the model's own comparison. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.validate.arrays import Answers, largest_errors, other_shapes
from harness.validate.comparison import ComparisonRule
from harness.validate.parity import ItemParity, Verdict


def compare_item(
    model: str,
    item: str,
    comparison: ComparisonRule,
    expected: Answers,
    got: Answers | None,
    *,
    digests: Sequence[str] = (),
) -> ItemParity:
    """Judge one item.

    ``got`` is None if the runner did not reach it. ``digests`` are the hashes of its answers in each pass, which must
    be equal.
    """

    def row(verdict: Verdict, detail: str | None = None, **errors: Any) -> ItemParity:
        return ItemParity(workload=model, item=item, label=item, verdict=verdict, detail=detail or None, **errors)

    if got is None:
        return row(Verdict.MISSING)
    error, relative = largest_errors(expected, got)
    errors: dict[str, Any] = {"max_error": error, "relative_error": relative}
    if len(set(digests)) > 1:
        return row(Verdict.UNSTABLE, f"{len(set(digests))} different answers in {len(digests)} passes", **errors)
    wrong = other_shapes(expected, got)
    if wrong:
        return row(Verdict.MISMATCH, wrong, **errors)
    return row(*comparison.judge(expected, got), **errors)
