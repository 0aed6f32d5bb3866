"""How arrays differ: the basis of the comparisons of a model's answers. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.protocol.tensors import Array
from harness.validate.parity import Verdict

Answers = Mapping[str, Array]
"""Arrays by output, in the order of the model's outputs."""


def other_shapes(expected: Answers, got: Answers) -> str:
    """Return which output is missing or has another shape or dtype; empty where none has."""
    for name, array in expected.items():
        if name not in got:
            return f"there is no {name}"
        if got[name].shape != array.shape or got[name].dtype != array.dtype:
            return (
                f"{name} is {got[name].dtype} of shape {list(got[name].shape)}, "
                f"PyTorch's {array.dtype} of shape {list(array.shape)}"
            )
    return ""


def largest_errors(expected: Answers, got: Answers) -> tuple[float | None, float | None]:
    """Return the largest absolute difference of any output, and the largest as a share of its output's magnitude."""
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
    """Absolute differences; what is infinite or not a number on both sides alike does not differ."""
    one, other = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def _largest(array: Array) -> float:
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def within(absolute: float, relative: float, expected: Answers, got: Answers) -> tuple[Verdict, str]:
    """Judge every number of every output by ``absolute`` + ``relative`` * the output's largest magnitude."""
    for name, array in expected.items():
        if not array.size:
            continue
        if array.dtype.kind != "f":
            differing = int((array != got[name]).sum())
            if differing:
                return Verdict.MISMATCH, f"{differing} of {array.size} elements of {name} differ"
            continue
        difference = _difference(array, got[name])
        bound = absolute + relative * _largest(array)
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


def same_best(k: int, tie: float, name: str, expected: Array, got: Array) -> tuple[Verdict, str]:
    """Judge the ``k`` best along the last axis of an output; PyTorch's scores within ``tie`` may change places."""
    if not expected.shape or expected.shape[-1] < k:
        return Verdict.MISMATCH, f"{name} of shape {list(expected.shape)} has no {k} best"
    theirs = _best(expected, k)
    ours = _best(got, k)
    return _ranked(name, expected, got, theirs, ours, tie)


def same_ids(tie: float, name: str, expected: Array, got: Array) -> tuple[Verdict, str]:
    """Judge an output's ids: integers themselves, of scores the best along the last axis."""
    if expected.dtype.kind != "f":
        differing = np.argwhere(expected != got)
        if not len(differing):
            return Verdict.EQUAL, ""
        at = tuple(int(index) for index in differing[0])
        return Verdict.MISMATCH, (
            f"{len(differing)} of {expected.size} ids of {name} differ, first at {list(at)}: "
            f"{expected[at]} expected, {got[at]} got"
        )
    return _ranked(name, expected, got, _best(expected, 1), _best(got, 1), tie)


def _best(scores: Array, k: int) -> Array:
    """Indices of the k largest along the last axis, the largest first, the first of equal ones before the others."""
    order: Array = np.argsort(-scores.astype(np.float64), axis=-1, kind="stable")
    return order[..., :k]


def _ranked(name: str, expected: Array, got: Array, theirs: Array, ours: Array, tie: float) -> tuple[Verdict, str]:
    """Whether the ranks are the same, or only exchanged where PyTorch's own scores are within ``tie``."""
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
