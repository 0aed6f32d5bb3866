"""Judge whether B has become slower than A: one session, the verdict of two sessions, and many cells together.

``docs/measuring.md`` explains the method and its parameters. It also reports the detections and false alarms that
``benchmarks/gate.py`` simulates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from harness.measure.limits import Growth
from harness.measure.multiple import adjusted, combined
from harness.measure.pairs import Shift, disturbance, measure_shift
from harness.measure.power import Floor, detectable_change

_Cell = TypeVar("_Cell")


@dataclass(frozen=True)
class GateRule:
    """Hold the gate's parameters; changes and noises are fractions, 0.03 is 3 %."""

    pairs: int = 10
    extended_pairs: int = 16
    extend_above: float = 0.03
    """The process noise, disturbed pairs included, above which a session gets the extended number of pairs."""
    blurred_above: float = 0.05
    """The process noise above which changes below ``blurred_below`` are not judged. A session with more noise that
    proves no larger change is not clear."""
    blurred_below: float = 0.10
    alpha: float = 0.01
    """The significance level of one session's signed-rank test."""
    min_change: float = 0.03
    """The least change that counts, however certain a smaller one is."""
    min_worth: float = 0.01
    """The least worth of a part's change, as a fraction of the whole latency: a part that takes 2 % of it has to become
    slower by 50 %."""
    false_discoveries: float = 0.05
    """The share of false failures among the failures of a nightly run."""
    attempts: int = 2
    """How often a session is measured if it is too noisy to decide."""

    def threshold(self, floor: Floor | None, share: float = 1.0) -> float:
        """Return the value that an estimate has to exceed, as a fraction.

        It is the largest of the least change that counts, the device's own floor, and the least change that matters for
        a part that takes ``share`` of the whole.
        """
        return max(self.min_change, floor.change if floor else 0.0, self.min_worth / share)


DEFAULT_RULE = GateRule()


class Outcome(str, Enum):
    """Name the outcome of one session."""

    CLEAR = "clear"
    SUSPECT = "suspect"
    NOISY = "noisy"


@dataclass(frozen=True)
class Judgement:
    """Hold the judgement of one session of one cell."""

    outcome: Outcome
    shift: Shift
    threshold: float
    """The value that the estimate had to exceed, as a fraction."""
    detectable: float
    """The smallest slowdown that sessions like this one find with a probability of 95 %, confirmation included."""

    @property
    def change(self) -> float:
        """Return the estimate as a fraction: 0.05 is 5 % slower."""
        return math.expm1(self.shift.estimate)

    @property
    def change_low(self) -> float:
        return math.expm1(self.shift.interval.low)

    @property
    def change_high(self) -> float:
        return math.expm1(self.shift.interval.high)


class GateVerdict(str, Enum):
    PASS = "pass"
    WARN = "warn"
    """Something to look at that is not proven."""
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Undecided:
    """State why a session could not be made or used: throttled, battery, device lost, out of time."""

    cause: str


Session = Judgement | Undecided


@dataclass(frozen=True)
class CellSessions:
    """Hold the sessions of one cell: device, model, variant, metric. ``second`` is None if it was not needed."""

    first: Session
    second: Session | None = None


@dataclass(frozen=True)
class CellVerdict:
    verdict: GateVerdict
    cause: str
    """One line for a person; empty for a plain pass."""
    sessions: CellSessions
    adjusted_p: float
    """The p-value of both sessions together, corrected for the number of cells; 1 without a suspicion."""


def pairs_wanted(sessions: Mapping[str, ArrayLike], rule: GateRule = DEFAULT_RULE) -> int:
    """Return how many pairs a session needs, given its metrics' log ratios so far.

    A single wild pair calls for more pairs, too. If it had the highest of ten ranks and went against the change, it
    would hide a change that the nine others show. An extension depends on how much the pairs differ and not on where
    they lie, so that the later test stays valid.
    """
    enough = all(len(np.asarray(values)) >= rule.pairs for values in sessions.values())
    if sessions and enough and any(disturbance(values) > rule.extend_above for values in sessions.values()):
        return rule.extended_pairs
    return rule.pairs


def judge_session(
    differences: ArrayLike,
    *,
    rng: np.random.Generator,
    rule: GateRule = DEFAULT_RULE,
    floor: Floor | None = None,
    share: float = 1.0,
) -> Judgement:
    """Judge one session's log ratios; raises ValueError without any, or if one is not finite.

    ``share`` is what the metric takes of the whole latency, above 0.
    """
    shift = measure_shift(differences, rng)
    threshold = rule.threshold(floor, share)
    change = math.expm1(shift.estimate)
    # If only larger changes matter, smaller ones need not be judged. A high floor is no such reason: a device that is
    # so restless sees little, and must not pass for that.
    blurred = shift.noise > rule.blurred_above and rule.threshold(None, share) < rule.blurred_below
    if shift.p <= rule.alpha and change > (max(threshold, rule.blurred_below) if blurred else threshold):
        outcome = Outcome.SUSPECT
    else:
        # A large change that is not proven because of noise is no reason to call the session clear.
        outcome = Outcome.NOISY if blurred else Outcome.CLEAR
    detectable = detectable_change(differences, threshold=math.log1p(threshold), alpha=rule.alpha, sessions=2, rng=rng)
    if shift.noise > rule.blurred_above:
        detectable = max(detectable, rule.blurred_below)
    return Judgement(outcome, shift, threshold, detectable)


def deciding(attempts: Sequence[Session]) -> Session:
    """Return the first attempt that decided, or the last one; raises ValueError without any.

    An attempt is repeated because of its noise, never because of its result.
    """
    if not attempts:
        raise ValueError("a session needs an attempt")
    return next((attempt for attempt in attempts if _decided(attempt)), attempts[-1])


def needs_another(attempts: Sequence[Session], rule: GateRule = DEFAULT_RULE) -> bool:
    """Return whether a session has to be measured, or measured again."""
    return len(attempts) < rule.attempts and not any(map(_decided, attempts))


def is_suspect(session: Session) -> bool:
    return isinstance(session, Judgement) and session.outcome is Outcome.SUSPECT


def _decided(session: Session) -> bool:
    return isinstance(session, Judgement) and session.outcome is not Outcome.NOISY


def judge_cells(cells: Mapping[_Cell, CellSessions], rule: GateRule = DEFAULT_RULE) -> dict[_Cell, CellVerdict]:
    """Return the verdicts of a nightly run.

    A cell fails if both of its sessions are suspect and their p-values, combined, survive Benjamini & Hochberg's
    correction among all cells of the nightly run. A cell that gave no suspicion counts with a p-value of 1, since it
    ended the two-stage test there (Bauer & Köhne 1994).
    """
    together = adjusted([_combined(sessions) for sessions in cells.values()])
    return {
        cell: _verdict(sessions, p, len(cells), rule)
        for (cell, sessions), p in zip(cells.items(), together, strict=True)
    }


def _combined(sessions: CellSessions) -> float:
    first, second = sessions.first, sessions.second
    if not (isinstance(first, Judgement) and is_suspect(first) and isinstance(second, Judgement)):
        return 1.0
    return combined(first.shift.p, second.shift.p)


def _verdict(sessions: CellSessions, p: float, cells: int, rule: GateRule) -> CellVerdict:
    verdict, cause = _decide(sessions, p, cells, rule)
    return CellVerdict(verdict, cause, sessions, p)


def _decide(sessions: CellSessions, p: float, cells: int, rule: GateRule) -> tuple[GateVerdict, str]:
    first, second = sessions.first, sessions.second
    if isinstance(first, Undecided):
        return GateVerdict.INCONCLUSIVE, first.cause
    if first.outcome is Outcome.NOISY:
        return GateVerdict.INCONCLUSIVE, _noisy(first, rule)
    if first.outcome is Outcome.CLEAR:
        return GateVerdict.PASS, ""
    seen = f"{first.change:+.1%} in the first session"
    if second is None:
        return GateVerdict.INCONCLUSIVE, f"{seen}, not measured again"
    if isinstance(second, Undecided):
        return GateVerdict.INCONCLUSIVE, f"{seen}, not confirmed: {second.cause}"
    if second.outcome is Outcome.NOISY:
        return GateVerdict.WARN, f"{seen}, the confirmation was undecided: {_noisy(second, rule)}"
    if second.outcome is Outcome.CLEAR:
        return GateVerdict.WARN, f"{seen}, {second.change:+.1%} in the second: not confirmed"
    both = f"{first.change:+.1%}, and {second.change:+.1%} when measured again"
    if p > rule.false_discoveries:
        return GateVerdict.WARN, f"{both}, which chance alone gives among {cells} cells"
    return GateVerdict.FAIL, both


def _noisy(session: Judgement, rule: GateRule) -> str:
    noise = f"too noisy: processes differ by {session.shift.noise:.1%}"
    if session.change >= rule.blurred_below:
        return f"{noise}, which proves {session.change:+.1%} neither true nor false"
    return f"{noise}, above {rule.blurred_above:.0%} there is no verdict on changes under {rule.blurred_below:.0%}"


def judge_growth(growth: Growth) -> tuple[GateVerdict, str]:
    """Judge a limit. One look is enough, because sizes do not vary, and memory is a median over runs."""
    if not growth.exceeded:
        return GateVerdict.PASS, ""
    return GateVerdict.FAIL, f"{growth.metric} grew by {growth.ratio - 1:.1%}, at most {growth.limit:.0%} is allowed"


def overall(verdicts: Sequence[GateVerdict]) -> GateVerdict:
    """Return the verdict of a nightly run: a proven regression counts most, then an undecided cell, then a warning.

    Without any verdict it is inconclusive.
    """
    if not verdicts:
        return GateVerdict.INCONCLUSIVE
    order = (GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.WARN, GateVerdict.PASS)
    return min(verdicts, key=order.index)
