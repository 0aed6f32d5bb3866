"""Compare a model's tensors with PyTorch's by the model's own comparison. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.protocol.tensors import Array
from harness.validate.comparison import ExactTokens, Tolerances, TopK
from harness.validate.parity import Verdict

Answers = Mapping[str, Array]
"""Arrays by output, in the order of the model's outputs."""


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
    comparison: Tolerances | TopK | ExactTokens,
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
    error, relative = _errors(expected, got)
    if len(set(digests)) > 1:
        detail = f"{len(set(digests))} different answers in {len(digests)} passes"
        return ItemParity(model, item, Verdict.UNSTABLE, detail, error, relative)
    wrong = _shapes(expected, got)
    if wrong:
        return ItemParity(model, item, Verdict.MISMATCH, wrong, error, relative)
    if isinstance(comparison, Tolerances):
        verdict, detail = _tolerances(comparison, expected, got)
    else:
        name = comparison.output or next(iter(expected))
        if isinstance(comparison, TopK):
            verdict, detail = _top_k(comparison, name, expected[name], got[name])
        else:
            verdict, detail = _tokens(comparison, name, expected[name], got[name])
    return ItemParity(model, item, verdict, detail, error, relative)


def _shapes(expected: Answers, got: Answers) -> str:
    for name, array in expected.items():
        if name not in got:
            return f"there is no {name}"
        if got[name].shape != array.shape or got[name].dtype != array.dtype:
            return (
                f"{name} is {got[name].dtype} of shape {list(got[name].shape)}, "
                f"PyTorch's {array.dtype} of shape {list(array.shape)}"
            )
    return ""


def _errors(expected: Answers, got: Answers) -> tuple[float | None, float | None]:
    worst, share = None, None
    for name, array in expected.items():
        other = got.get(name)
        if other is None or other.shape != array.shape or not array.size or array.dtype.kind != "f":
            continue
        error = float(_difference(array, other).max())
        largest = _largest(array)
        worst = error if worst is None else max(worst, error)
        relative = error / largest if largest else (0.0 if error == 0 else float("inf"))
        share = relative if share is None else max(share, relative)
    return worst, share


def _difference(expected: Array, got: Array) -> Array:
    """Return absolute differences; values that are infinite or NaN on both sides alike do not differ."""
    one, other = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def _largest(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def _tolerances(comparison: Tolerances, expected: Answers, got: Answers) -> tuple[Verdict, str]:
    for name, array in expected.items():
        if not array.size:
            continue
        if array.dtype.kind != "f":
            differing = int((array != got[name]).sum())
            if differing:
                return Verdict.MISMATCH, f"{differing} of {array.size} elements of {name} differ"
            continue
        difference = _difference(array, got[name])
        bound = comparison.absolute + comparison.relative * _largest(array)
        beyond = int((difference > bound).sum())
        if beyond:
            at = np.unravel_index(int(difference.argmax()), array.shape)
            where = ", ".join(str(int(index)) for index in at)
            return Verdict.MISMATCH, (
                f"{beyond} of {array.size} elements of {name} are off by more than {bound:.3g}, "
                f"most at [{where}], by {float(difference[at]):.3g}: "
                f"{float(array[at]):.6g} expected, {float(got[name][at]):.6g} got"
            )
    return Verdict.EQUAL, ""


def _top_k(comparison: TopK, name: str, expected: Array, got: Array) -> tuple[Verdict, str]:
    if not expected.shape or expected.shape[-1] < comparison.k:
        return Verdict.MISMATCH, f"{name} of shape {list(expected.shape)} has no {comparison.k} best"
    theirs = _best(expected, comparison.k)
    ours = _best(got, comparison.k)
    return _ranked(name, expected, got, theirs, ours, comparison.tie)


def _tokens(comparison: ExactTokens, name: str, expected: Array, got: Array) -> tuple[Verdict, str]:
    if expected.dtype.kind != "f":
        differing = np.argwhere(expected != got)
        if not len(differing):
            return Verdict.EQUAL, ""
        at = tuple(int(index) for index in differing[0])
        return Verdict.MISMATCH, (
            f"{len(differing)} of {expected.size} ids of {name} differ, first at {list(at)}: "
            f"{expected[at]} expected, {got[at]} got"
        )
    return _ranked(name, expected, got, _best(expected, 1), _best(got, 1), comparison.tie)


def _best(scores: Array, k: int) -> Array:
    """Return the indices of the k largest along the last axis, largest first; equal ones keep their order."""
    order: Array = np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")
    return order[..., :k]


def _ranked(name: str, expected: Array, got: Array, theirs: Array, ours: Array, tie: float) -> tuple[Verdict, str]:
    """Return whether the ranks are the same, or only exchanged within PyTorch's own ``tie``, with the details."""
    if not np.isfinite(got).all() and np.isfinite(expected).all():
        return Verdict.MISMATCH, f"{name} holds what is no number"
    differing = np.argwhere(theirs != ours)
    if not len(differing):
        return Verdict.EQUAL, ""
    scores = expected.astype(np.float64)
    gaps = np.abs(np.take_along_axis(scores, theirs, -1) - np.take_along_axis(scores, ours, -1))
    widest = tuple(int(index) for index in np.unravel_index(int(gaps.argmax()), gaps.shape))
    rank, row = widest[-1] + 1, list(widest[:-1])
    detail = (
        f"{len(differing)} of {theirs.size} ranks of {name} differ, most at {row} rank {rank}: "
        f"{int(theirs[widest])} expected, {int(ours[widest])} got (PyTorch's scores differ by {gaps[widest]:.3g})"
    )
    return (Verdict.TIE if float(gaps.max()) <= tie else Verdict.MISMATCH), detail
