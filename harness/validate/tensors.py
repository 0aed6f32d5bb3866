"""Compare a model's tensors with PyTorch's by the model's own comparison. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.validate.arrays import Answers, largest_errors, other_shapes
from harness.validate.comparison import ComparisonRule
from harness.validate.parity import Verdict


@dataclass(frozen=True)
class ItemParity:
    model: str
    item: str
    verdict: Verdict
    detail: str = ""
    """What differs and by how much; empty if nothing does."""
    max_error: float | None = None
    """The largest absolute difference of any output, measured whatever is compared."""
    relative_error: float | None = None
    """The largest error as a share of its output's largest magnitude."""

    def describe(self) -> str:
        """Return one line for a failure message."""
        return f"{self.model} {self.item!r}: {self.verdict}{f', {self.detail}' if self.detail else ''}"


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
    if got is None:
        return ItemParity(model, item, Verdict.MISSING)
    error, relative = largest_errors(expected, got)
    if len(set(digests)) > 1:
        detail = f"{len(set(digests))} different answers in {len(digests)} passes"
        return ItemParity(model, item, Verdict.UNSTABLE, detail, error, relative)
    wrong = other_shapes(expected, got)
    if wrong:
        return ItemParity(model, item, Verdict.MISMATCH, wrong, error, relative)
    verdict, detail = comparison.judge(expected, got)
    return ItemParity(model, item, verdict, detail, error, relative)
