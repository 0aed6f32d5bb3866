"""Hold what engines did in ``benchmarks/generation.py``, and compare it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Which = Literal["prefill", "decode"]
TOKEN_BYTES = "bytes a token"
"""The engine's fact with the bytes that a token reads."""


@dataclass(frozen=True)
class Run:
    """Hold one generation in nanoseconds: until the first token, and from there on."""

    first_ns: int
    rest_ns: int

    def prefill(self, prompt: int) -> float:
        """Return the prompt's tokens a second."""
        return prompt / self.first_ns * 1e9

    def decode(self, tokens: int) -> float:
        """Return the tokens a second after the first one."""
        return (tokens - 1) / self.rest_ns * 1e9


def rate_of(run: Run, which: Which, count: int) -> float:
    return run.prefill(count) if which == "prefill" else run.decode(count)


@dataclass
class Measured:
    """Hold what an engine did: its runs by round, its last tokens, and why it failed if it did."""

    rounds: list[list[Run]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    peak_bytes: int | None = None

    def rate(self, which: Which, count: int) -> float:
        return statistics.median(rate_of(run, which, count) for runs in self.rounds for run in runs)


def ratio(ours: Measured, other: Measured, which: Which, count: int) -> float:
    """Return how many times our rate is the other's: the median over rounds of one round's medians."""

    def usual(runs: list[Run]) -> float:
        return statistics.median(rate_of(run, which, count) for run in runs)

    return statistics.median(usual(a) / usual(b) for a, b in zip(ours.rounds, other.rounds, strict=True))


def agreeing(tokens: Sequence[int], expected: Sequence[int]) -> int:
    """Return how many tokens are the same before the first that differs."""
    pairs = zip(tokens, expected, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(tokens), len(expected)))


def distance(one: Measured, tokens: int, speeds: Sequence[float]) -> float | None:
    """Return a token's time over that of reading its bytes: the median over rounds, each with its own memory speed.

    None if the bytes or the speeds are not known.
    """
    if TOKEN_BYTES not in one.facts or len(speeds) != len(one.rounds):
        return None
    read = int(one.facts[TOKEN_BYTES])
    usual = [statistics.median(run.decode(tokens) for run in runs) for runs in one.rounds]
    return statistics.median(speed / (rate * read) for speed, rate in zip(speeds, usual, strict=True))
