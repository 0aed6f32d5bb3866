"""Simulated nightly runs: a device with its moods, and the rules that others use to find regressions on it.

Times are lognormal: a nightly run's or session's level, each process its own speed, each iteration its own noise. In a
throttled session the device slows down at some run and is restless from then on. All numbers are standard deviations
of logarithms, or fractions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.measure import (
    CellSessions,
    Floor,
    GateRule,
    Judgement,
    Session,
    calibrate,
    deciding,
    is_suspect,
    judge_session,
    needs_another,
    pairs_wanted,
)

Floats = NDArray[np.float64]

HISTORY = 30
"""The nightly runs with which the t-test compares."""
CALIBRATION_SESSIONS = 20


@dataclass(frozen=True)
class World:
    session_effect: float = 0.04
    process_noise: float = 0.015
    iteration_noise: float = 0.03
    iterations: int = 20
    """Of one process."""
    throttled: float = 0.05
    """The share of sessions in which the device gets too hot."""
    slowdown: tuple[float, float] = (0.1, 0.5)
    """Least and most of a throttled device."""
    restless: float = 3.0
    """By how much the process noise grows with it."""

    def runs(self, rng: np.random.Generator, count: int) -> Floats:
        """Log medians of the runs of one session, one after the other, of a runner that takes 1."""
        noise = np.full(count, self.process_noise)
        level = np.full(count, rng.normal(0, self.session_effect))
        if rng.random() < self.throttled:
            since = rng.integers(count)
            level[since:] += math.log1p(rng.uniform(*self.slowdown))
            noise[since:] *= self.restless
        iterations = rng.normal(0, self.iteration_noise, (count, self.iterations))
        medians: Floats = level + rng.normal(0, noise) + np.median(iterations, axis=1)
        return medians

    def pairs(self, rng: np.random.Generator, count: int, change: float) -> Floats:
        """Log ratios of a session of interleaved pairs, ABBA, where B is slower by ``change``."""
        first, second = self.runs(rng, 2 * count).reshape(count, 2).T
        sign = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
        differences: Floats = sign * (second - first) + math.log1p(change)
        return differences

    def nightly(self, rng: np.random.Generator, change: float, iterations: int) -> Floats:
        """Log times of one process in one nightly run, as the rules without a baseline measure it."""
        level = rng.normal(0, self.session_effect) + rng.normal(0, self.process_noise)
        if rng.random() < self.throttled:
            level += math.log1p(rng.uniform(*self.slowdown))
        times: Floats = level + math.log1p(change) + rng.normal(0, self.iteration_noise, iterations)
        return times


def calibration(world: World, rule: GateRule, rng: np.random.Generator) -> Floor:
    """Return what ``harness nightly --calibrate`` would find on this device."""
    return calibrate([world.pairs(rng, rule.pairs, 0.0) for _ in range(CALIBRATION_SESSIONS)], rng)


@dataclass
class Effort:
    """What the gate measured."""

    sessions: int = 0
    pairs: int = 0


def gated(
    world: World, rule: GateRule, floor: Floor, change: float, rng: np.random.Generator, effort: Effort
) -> CellSessions:
    """Simulate one cell's nightly run, by the same decisions that the real one takes."""

    def attempts() -> Session:
        made: list[Session] = []
        while needs_another(made, rule):
            made.append(_session(world, rule, floor, change, rng, effort))
        return deciding(made)

    first = attempts()
    return CellSessions(first, attempts() if is_suspect(first) else None)


def _session(
    world: World, rule: GateRule, floor: Floor, change: float, rng: np.random.Generator, effort: Effort
) -> Judgement:
    pairs = world.pairs(rng, rule.extended_pairs, change)
    wanted = pairs_wanted({"latency": pairs[: rule.pairs]}, rule)
    effort.sessions += 1
    effort.pairs += wanted
    return judge_session(pairs[:wanted], rng=rng, rule=rule, floor=floor)


@dataclass(frozen=True)
class Naive:
    """Whether each rule that compares nightly runs raises an alarm about the last one."""

    last_run: bool
    mann_whitney: bool
    t_test: bool


def naive(world: World, rule: GateRule, change: float, rng: np.random.Generator) -> Naive:
    """Runs of one process with as many iterations as the gate's ten runs of B have; only the last is changed."""
    iterations = rule.pairs * world.iterations
    nightly_runs = [world.nightly(rng, 0.0, iterations) for _ in range(HISTORY)]
    current = world.nightly(rng, change, iterations)
    medians = np.array([np.median(nightly) for nightly in nightly_runs])
    figure = float(np.median(current))
    # A new observation against a sample: the prediction form of Student's t.
    t = (figure - medians.mean()) / (medians.std(ddof=1) * math.sqrt(1 + 1 / HISTORY))
    return Naive(
        last_run=figure - medians[-1] > math.log1p(0.05),
        mann_whitney=bool(stats.mannwhitneyu(current, nightly_runs[-1], alternative="greater").pvalue < 0.05),
        t_test=bool(t > stats.t.ppf(0.99, HISTORY - 1)),
    )
