"""The gate's decisions, each from numbers that bring it about."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure import (
    DEFAULT_RULE,
    CellSessions,
    Floor,
    GateVerdict,
    Judgement,
    Outcome,
    Undecided,
    deciding,
    judge_cells,
    judge_growth,
    judge_session,
    memory_growth,
    needs_another,
    overall,
    pairs_wanted,
    size_growth,
)

SPREAD = np.array([-1.5, -1.0, -0.6, -0.35, -0.1, 0.12, 0.33, 0.61, 1.02, 1.49])
"""Ten differences around 0, their process noise 0.7 or so."""


def judged(change: float, noise: float = 0.01, floor: Floor | None = None) -> Judgement:
    return judge_session(math.log1p(change) + noise * SPREAD, rng=np.random.default_rng(1), floor=floor)


def verdict(first: Judgement | Undecided, second: Judgement | Undecided | None = None) -> tuple[GateVerdict, str]:
    (found,) = judge_cells({"cell": CellSessions(first, second)}).values()
    return found.verdict, found.cause


def test_a_session_without_a_change() -> None:
    found = judged(0.0)
    assert found.outcome is Outcome.CLEAR
    assert found.change == pytest.approx(0, abs=0.001)
    assert found.change_low < 0 < found.change_high
    assert 0.03 < found.detectable < 0.05
    assert verdict(found) == (GateVerdict.PASS, "")


def test_seen_twice_is_a_failure_once_a_warning() -> None:
    slow, same = judged(0.05), judged(0.0)
    assert slow.outcome is Outcome.SUSPECT
    found, cause = verdict(slow, judged(0.06))
    assert found is GateVerdict.FAIL
    assert cause == "+5.0%, and +6.0% when measured again"
    found, cause = verdict(slow, same)
    assert (found, "not confirmed" in cause) == (GateVerdict.WARN, True)


def test_certain_but_small_is_clear_and_so_is_large_but_uncertain() -> None:
    small = judged(0.02, noise=0.001)
    assert small.shift.p < 0.001
    assert small.outcome is Outcome.CLEAR
    differences = np.array([0.3, 0.28, 0.25, 0.06, 0.05, 0.04, -0.05, -0.06, -0.04, 0.03])
    uncertain = judge_session(differences, rng=np.random.default_rng(1), rule=replace(DEFAULT_RULE, blurred_above=1))
    assert uncertain.change > 0.03
    assert uncertain.shift.p > 0.01
    assert uncertain.outcome is Outcome.CLEAR


def test_faster_is_never_suspect() -> None:
    assert judged(-0.2).outcome is Outcome.CLEAR


def test_a_restless_device_has_a_floor_of_its_own() -> None:
    floor = Floor(sessions=20, pairs=10, change=0.08, noise=0.02)
    assert judged(0.05).outcome is Outcome.SUSPECT
    found = judged(0.05, floor=floor)
    assert (found.outcome, found.threshold) == (Outcome.CLEAR, 0.08)
    assert found.detectable > 0.08
    assert judged(0.1, floor=floor).outcome is Outcome.SUSPECT
    calm = replace(floor, change=0.001)
    assert judged(0.02, floor=calm).threshold == DEFAULT_RULE.min_change


def test_noise_extends_and_then_forbids_small_verdicts() -> None:
    assert pairs_wanted({}) == 10
    assert pairs_wanted({"latency": 0.01 * SPREAD[:4]}) == 10
    assert pairs_wanted({"latency": 0.01 * SPREAD}) == 10
    assert pairs_wanted({"latency": 0.06 * SPREAD}) == 16
    assert pairs_wanted({"latency": 0.01 * SPREAD, "steps": 0.06 * SPREAD}) == 16
    noisy = judged(0.0, noise=0.1)
    assert noisy.shift.noise > 0.05
    assert noisy.outcome is Outcome.NOISY
    assert noisy.detectable >= 0.10
    found, cause = verdict(noisy)
    assert found is GateVerdict.INCONCLUSIVE
    assert "too noisy" in cause
    assert judged(0.35, noise=0.1).outcome is Outcome.SUSPECT


def test_a_large_change_that_so_much_noise_does_not_prove_is_undecided() -> None:
    """An estimate above 10 % whose test proves nothing: neither a suspicion nor a session without a change."""
    unproven = judged(0.12, noise=0.3)
    assert unproven.change >= DEFAULT_RULE.blurred_below
    assert unproven.shift.p > DEFAULT_RULE.alpha
    assert unproven.outcome is Outcome.NOISY
    found, cause = verdict(unproven)
    assert found is GateVerdict.INCONCLUSIVE
    assert cause.endswith("which proves +12.2% neither true nor false")
    assert needs_another([unproven])


def test_a_floor_above_ten_percent_lets_no_noise_pass() -> None:
    """Found where a machine was calibrated while others used it: it would have passed whatever took twice as long."""
    restless = Floor(sessions=2, pairs=16, change=0.38, noise=0.28)
    found = judged(0.03, noise=0.3, floor=restless)
    assert found.detectable > 0.38
    assert found.outcome is Outcome.NOISY
    assert judged(0.3, noise=0.1, floor=restless).outcome is Outcome.NOISY, "certain, and below the floor"
    assert judged(0.6, noise=0.1, floor=restless).outcome is Outcome.SUSPECT
    assert judged(0.3, noise=0.01, floor=restless).outcome is Outcome.CLEAR, "a calm session below the floor"


def test_one_wild_pair_gets_a_session_extended() -> None:
    wild = 0.01 * SPREAD + math.log1p(0.1)
    wild[3] = -0.3
    assert judge_session(wild, rng=np.random.default_rng(1)).outcome is Outcome.CLEAR
    assert pairs_wanted({"latency": wild}) == 16
    more = np.concatenate([wild, 0.01 * SPREAD[:6] + math.log1p(0.1)])
    assert judge_session(more, rng=np.random.default_rng(1)).outcome is Outcome.SUSPECT


def test_extension_does_not_look_at_where_the_differences_lie() -> None:
    for shift in (-0.5, 0.0, 0.5):
        assert pairs_wanted({"latency": 0.06 * SPREAD + shift}) == 16


def test_a_noisy_attempt_is_repeated_a_decided_one_never() -> None:
    noisy, slow, same = judged(0.0, noise=0.1), judged(0.05), judged(0.0)
    lost = Undecided("throttled")
    assert needs_another([])
    assert needs_another([noisy])
    assert needs_another([lost])
    assert not needs_another([slow])
    assert not needs_another([noisy, lost])
    assert deciding([noisy, slow]) is slow
    assert deciding([slow, same]) is slow
    assert deciding([noisy, lost]) is lost
    with pytest.raises(ValueError, match="attempt"):
        deciding([])


@pytest.mark.parametrize(
    ("second", "expected", "words"),
    [
        (None, GateVerdict.INCONCLUSIVE, "not measured again"),
        (Undecided("the device was lost"), GateVerdict.INCONCLUSIVE, "the device was lost"),
        (judged(0.0, noise=0.1), GateVerdict.WARN, "too noisy"),
    ],
)
def test_a_suspicion_without_a_second_session(
    second: Judgement | Undecided | None, expected: GateVerdict, words: str
) -> None:
    found, cause = verdict(judged(0.05), second)
    assert found is expected
    assert words in cause


def test_no_first_session_has_a_reason() -> None:
    assert verdict(Undecided("battery at 12 %")) == (GateVerdict.INCONCLUSIVE, "battery at 12 %")


def test_among_many_cells_a_weak_finding_is_only_a_warning() -> None:
    weak = judge_session(
        np.array([0.08, 0.07, 0.06, 0.05, 0.04, 0.065, 0.075, 0.045, -0.01, -0.02]), rng=np.random.default_rng(1)
    )
    assert weak.outcome is Outcome.SUSPECT
    both, clear = CellSessions(weak, weak), CellSessions(judged(0.0))
    alone = judge_cells({0: both})[0]
    assert alone.verdict is GateVerdict.FAIL
    crowd = judge_cells({0: both, **dict.fromkeys(range(1, 2000), clear)})
    assert crowd[0].verdict is GateVerdict.WARN
    assert "2000 cells" in crowd[0].cause
    assert crowd[0].adjusted_p > 0.05
    assert all(crowd[at].verdict is GateVerdict.PASS for at in range(1, 2000))


@given(st.lists(st.sampled_from([0.0, 0.05]), min_size=1, max_size=6), st.booleans())
def test_a_failure_has_two_suspect_sessions(changes: list[float], confirmed: bool) -> None:
    cells = {
        at: CellSessions(_JUDGED[change], _JUDGED[0.05 if confirmed else 0.0]) for at, change in enumerate(changes)
    }
    for at, found in judge_cells(cells).items():
        assert (found.verdict is GateVerdict.FAIL) == (changes[at] > 0 and confirmed)


_JUDGED = {change: judged(change) for change in (0.0, 0.05)}


def test_limits() -> None:
    assert judge_growth(size_growth("archive", 1000, 1020)) == (GateVerdict.PASS, "")
    found, cause = judge_growth(size_growth("archive", 1000, 1021))
    assert found is GateVerdict.FAIL
    assert cause == "archive grew by 2.1%, at most 2% is allowed"
    grown = memory_growth([100, 100, 900], [106, 107, 100])
    assert grown is not None
    assert judge_growth(grown)[0] is GateVerdict.FAIL
    assert memory_growth([], [1]) is None


def test_a_nightly_run_is_as_bad_as_its_worst_cell() -> None:
    p, w, f, i = GateVerdict.PASS, GateVerdict.WARN, GateVerdict.FAIL, GateVerdict.INCONCLUSIVE
    assert overall([p, w, f, i]) is f
    assert overall([p, w, i]) is i
    assert overall([p, w]) is w
    assert overall([p]) is p
    assert overall([]) is i
