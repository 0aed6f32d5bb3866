"""Do a model's tensors say what PyTorch's say, as the model itself wants it judged? Pure functions over arrays."""

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
    """What differs and by how much; empty where nothing does."""
    max_error: float | None = None
    """The largest absolute difference of any output, measured whatever is compared."""
    relative_error: float | None = None
    """The same as a share of its output's largest magnitude."""

    def describe(self) -> str:
        """One line for a failure message."""
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
    """Judge one item. ``got`` is None where the runner did not get to it; ``digests`` are the hashes of what it
    answered in each pass, which must be one."""
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
