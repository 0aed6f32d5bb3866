"""Serve a language model as the child of ``benchmarks/generation.py``: one JSON request a line, one answer a line.

``{"do": "load", …}`` makes the engine and answers ``{"facts": {…}}``. ``{"do": "generate", "prompt": […], "tokens": n,
"repeat": m}`` runs it once untimed and ``m`` times timed, and answers ``{"runs": [{"first_ns": …, "rest_ns": …}, …],
"token_ids": […]}``. What fails answers ``{"error": "…"}``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from benchmarks.workers.conversation import converse


class Engine(Protocol):
    """One way to run a language model."""

    facts: dict[str, str]
    """Versions and settings, for the table."""

    def begin(self, prompt: Sequence[int]) -> int:
        """Take a prompt into an empty cache; return the most probable token."""
        ...

    def step(self, token: int) -> int:
        """Take one more token; return the most probable one behind it."""
        ...


def generate(engine: Engine, prompt: Sequence[int], count: int) -> tuple[list[int], int, int]:
    """Return the tokens, and the nanoseconds until the first and from there on."""
    began = time.perf_counter_ns()
    tokens = [engine.begin(prompt)]
    first = time.perf_counter_ns()
    while len(tokens) < count:
        tokens.append(engine.step(tokens[-1]))
    return tokens, first - began, time.perf_counter_ns() - first


def answer_to(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request to generate."""
    generate(engine, request["prompt"], request["tokens"])
    runs: list[dict[str, int]] = []
    tokens: list[int] = []
    for _ in range(request["repeat"]):
        tokens, first, rest = generate(engine, request["prompt"], request["tokens"])
        runs.append({"first_ns": first, "rest_ns": rest})
    return {"runs": runs, "token_ids": tokens}


def serve(load: Callable[[dict[str, Any]], Engine]) -> None:
    """Answer requests until standard input ends."""
    converse(load, answer_to)
