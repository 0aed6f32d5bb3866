"""Check whether the compiled model gives PyTorch's answers.

Greedy decoding picks the largest logit at every step. So two correct implementations that round differently may diverge
if their two best logits are closer together than the rounding. Such a divergence is a declared tie if both sides had a
top-2 margin within the tolerance at the first diverging step. A wide margin on either side means that one side computed
something else, which is a failure. Later steps are decoded from another prefix and are not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from harness.protocol.schema import End, Ended, Probe, Sample, WorkItem

_T = TypeVar("_T")

DEFAULT_TOLERANCE = 1e-3
"""Logits of G2P models are of order 10 and float32 sums of hundreds of terms. This allows about 1e-5 relative, with
room."""


class Verdict(str, Enum):
    EQUAL = "equal"
    TIE = "tie"
    """The ids diverge at a step whose margin is within the tolerance."""
    MISMATCH = "mismatch"
    TEXT = "text"
    """Equal ids, another text: the runner's detokenizer is wrong."""
    UNSTABLE = "unstable"
    """The runner gave different ids for one word in one run."""
    NO_ANSWER = "no answer"
    """The model ran, but its output cannot be an answer: its logits are not finite, or its token is not valid."""
    MISSING = "missing"
    """The runner ended before it reached the word."""

    def __str__(self) -> str:
        return self.value

    @property
    def fails(self) -> bool:
        """Return whether the subject is at fault; a missing word is not decided."""
        return self in (Verdict.MISMATCH, Verdict.TEXT, Verdict.UNSTABLE, Verdict.NO_ANSWER)


@dataclass(frozen=True)
class Decoded:
    """Hold one greedy decoding: ids with the end token, text, and the top-2 logit margin of each step if known."""

    token_ids: tuple[int, ...]
    text: str
    margins: tuple[float, ...] | None = None
    log_probabilities: tuple[float, ...] | None = None
    """Of PyTorch's own tokens, or of a text's: at each of them, after those before it."""
    ended: Ended | None = None
    """Why a language model's generation ended."""
    divergences: tuple[float, ...] | None = None
    """Of the runner's model: how far its distribution at each step is from PyTorch's, in nats."""


class ItemParity(BaseModel):
    """Compare one item's answer with PyTorch's. ``step`` and what follows it belong to one kind of answer each."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    workload: str = ""
    item: str
    label: str
    """A person's name for the item, such as the word."""
    subset: str = ""
    verdict: Verdict
    detail: str | None = None
    """What differs, or why there is no answer. For generated text the fields below state what differs."""
    expected: str | None = None
    got: str | None = None
    """Generated texts: PyTorch's and the runner's."""
    step: int | None = None
    """The first step at which the tokens differ."""
    expected_token: int | None = None
    got_token: int | None = None
    expected_margin: float | None = None
    """PyTorch's top-2 margin at that step."""
    got_margin: float | None = None
    margin_error: float | None = None
    """The largest difference of the two sides' margins, over the steps with the same prefix and token."""
    max_error: float | None = None
    """For tensors: the largest absolute difference of any output, measured whatever is compared."""
    relative_error: float | None = None
    """For tensors: the largest error as a share of its output's largest magnitude."""
    tokens: int | None = None
    """Where PyTorch's tokens were fed instead of the model's own: how many were compared."""
    tokens_equal: int | None = None
    """How many of them the model would have given, too."""
    log_probability: float | None = None
    expected_log_probability: float | None = None
    """The mean natural logarithm of the probability of PyTorch's tokens or a text's, of the runner's model and of
    PyTorch's."""
    kl: float | None = None
    """The mean over the steps of the divergence KL(PyTorch || ours) of the next token's distributions, in nats."""
    ended: Ended | None = None
    expected_ended: Ended | None = None
    """Why the runner's generation ended, and PyTorch's. None for the runner where PyTorch's tokens were fed."""

    def describe(self) -> str:
        """Return one line for a failure message."""
        head = f"{self.subset or self.workload} {self.label!r}: {self.verdict}"
        if self.expected is None:
            return f"{head}, {self.detail}" if self.detail else head
        if self.verdict is Verdict.EQUAL:
            return head
        if self.detail is not None:
            return f"{head}, expected {self.expected!r}: {self.detail}"
        if self.step is None:
            return f"{head}, expected {self.expected!r}, got {self.got!r}"
        margins = f"PyTorch's margin {_number(self.expected_margin)}, the runner's {_number(self.got_margin)}"
        return (
            f"{head} at step {self.step}: token {_number(self.expected_token)} expected, "
            f"{_number(self.got_token)} got ({margins}); {self.expected!r} became {self.got!r}"
        )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def first_divergence(expected: Sequence[int], got: Sequence[int]) -> int | None:
    """Return the first index at which the sequences differ (one may end there), or None if they are equal."""
    for step, (one, other) in enumerate(zip(expected, got, strict=False)):
        if one != other:
            return step
    return None if len(expected) == len(got) else min(len(expected), len(got))


def decodings(records: Iterable[object]) -> dict[str, list[Decoded]]:
    """Return the decodings of each item in a result's records: the probe and every repetition."""
    found: dict[str, list[Decoded]] = defaultdict(list)
    for record in records:
        if isinstance(record, Sample | Probe):
            for item, output in zip(record.items, record.outputs, strict=True):
                margins = None if output.margins is None else tuple(output.margins)
                weighed = None if output.log_probabilities is None else tuple(output.log_probabilities)
                apart = None if output.divergences is None else tuple(output.divergences)
                found[item].append(Decoded(tuple(output.token_ids), output.text, margins, weighed, output.ended, apart))
    return found


def answerless(records: Iterable[object]) -> dict[str, str]:
    """Return the item whose output the runner rejected, which ended the run, and why; empty without one."""
    ends = (record for record in records if isinstance(record, End))
    errors = (end.error for end in ends if end.error is not None and end.error.kind == "answer")
    return {error.item: error.message for error in errors if error.item is not None}


def compare_decodings(
    item: WorkItem,
    expected: Decoded,
    observed: Sequence[Decoded],
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    no_answer: str | None = None,
) -> ItemParity:
    """Compare PyTorch's decoding with all the runner's decodings of an item in one run.

    ``observed`` contains one decoding per repetition and probe; they must be equal. The one with margins is compared,
    or the first if none has any. ``no_answer`` is the reason why one of them cannot be an answer.
    """

    def row(verdict: Verdict, got: str | None, **more: Any) -> ItemParity:
        where: dict[str, Any] = {"workload": item.workload, "item": item.id, "subset": item.subset}
        where["expected_ended"] = expected.ended
        label = item.label or item.id
        return ItemParity(**where, label=label, verdict=verdict, expected=expected.text, got=got, **more)

    if no_answer is not None:
        return row(Verdict.NO_ANSWER, None, detail=no_answer)
    if not observed:
        return row(Verdict.MISSING, None)
    got = next((decoded for decoded in observed if decoded.margins is not None), observed[0])
    error = _margin_error(expected, got)
    ended = got.ended
    for other in observed:
        if (other.token_ids, other.text) != (got.token_ids, got.text):
            step = first_divergence(got.token_ids, other.token_ids)
            return row(Verdict.UNSTABLE, f"{got.text} and {other.text}", step=step, margin_error=error, ended=ended)
    step = first_divergence(expected.token_ids, got.token_ids)
    if step is None:
        verdict = Verdict.EQUAL if expected.text == got.text else Verdict.TEXT
        return row(verdict, got.text, margin_error=error, ended=ended)
    expected_margin, got_margin = _at(expected.margins, step), _at(got.margins, step)
    return row(
        Verdict.TIE if _is_tie(expected, got, step, tolerance) else Verdict.MISMATCH,
        got.text,
        step=step,
        expected_token=_at(expected.token_ids, step),
        got_token=_at(got.token_ids, step),
        expected_margin=expected_margin,
        got_margin=got_margin,
        margin_error=error,
        ended=ended,
    )


def compare_forced(
    item: WorkItem, expected: Decoded, got: Decoded | None, *, tolerance: float, no_answer: str | None = None
) -> ItemParity:
    """Compare the tokens that a model gives after PyTorch's own, each after all of PyTorch's before it.

    Every step is compared, also those after a token that differs. An item is a tie if both sides' top-2 margins are
    within the tolerance at every step where the tokens differ.
    """
    fed = got is not None and got.log_probabilities is not None and len(got.token_ids) == len(expected.token_ids)
    if no_answer is not None or got is None or not fed:
        observed = [] if got is None else [got]
        return compare_decodings(item, expected, observed, tolerance=tolerance, no_answer=no_answer)
    count = len(expected.token_ids)
    differing = [step for step in range(count) if expected.token_ids[step] != got.token_ids[step]]
    wide = [step for step in differing if not _is_tie(expected, got, step, tolerance)]
    shown = next(iter(wide or differing), None)
    where: dict[str, Any] = {"workload": item.workload, "item": item.id, "subset": item.subset}
    if shown is not None:
        where |= {
            "step": shown,
            "expected_token": expected.token_ids[shown],
            "got_token": got.token_ids[shown],
            "expected_margin": _at(expected.margins, shown),
            "got_margin": _at(got.margins, shown),
        }
    return ItemParity(
        **where,
        label=item.label or item.id,
        verdict=Verdict.MISMATCH if wide else Verdict.TIE if differing else Verdict.EQUAL,
        expected=expected.text,
        got=got.text,
        margin_error=_margin_error(expected, got),
        expected_ended=expected.ended,
        tokens=count,
        tokens_equal=count - len(differing),
        log_probability=_mean(got.log_probabilities),
        expected_log_probability=_mean(expected.log_probabilities),
        kl=_mean(got.divergences),
    )


def _is_tie(expected: Decoded, got: Decoded, step: int, tolerance: float) -> bool:
    theirs, ours = _at(expected.margins, step), _at(got.margins, step)
    return theirs is not None and theirs <= tolerance and (ours or 0.0) <= tolerance


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def _at(values: Sequence[_T] | None, index: int) -> _T | None:
    return values[index] if values is not None and index < len(values) else None


def _margin_error(expected: Decoded, got: Decoded) -> float | None:
    """Return the largest difference of margins before the first divergence, where both sides chose the same tokens."""
    if expected.margins is None or got.margins is None:
        return None
    step = first_divergence(expected.token_ids, got.token_ids)
    pairs = list(zip(expected.margins, got.margins, strict=False))[:step]
    return max((abs(one - other) for one, other in pairs), default=None)
