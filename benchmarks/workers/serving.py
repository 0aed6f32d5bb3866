"""Serve as the child of a peer: one JSON request a line on standard input, one JSON answer a line on output.

``{"do": "load", …}`` makes the engine and answers ``{"facts": {…}}``. ``{"do": "pass", "batches": [[text, …], …],
"warmup": n}`` runs the first ``n`` batches untimed and then every batch timed, and answers ``{"batches": [{"ns": …,
"token_ids": [[…], …], "texts": […]}, …]}``. What fails answers ``{"error": "…"}``. Parent: ``benchmarks.processes``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.workers.conversation import converse

EOS_ID = 1
BYTE_OFFSET = 3
BYTES = 256


class Engine(Protocol):
    """One way to run a G2P model."""

    facts: dict[str, str]
    """Versions and settings, for the table."""

    def run(self, texts: list[str]) -> list[list[int]]:
        """Generated ids of every text of a batch, without the start token, cut behind the end token."""
        ...


def encode(text: str) -> list[int]:
    """ByT5's ids of the text's UTF-8 bytes; CharsiuG2P's format has no end token."""
    return [byte + BYTE_OFFSET for byte in text.encode()]


def decode(ids: list[int]) -> str:
    """Return the text of generated ids; special ids and incomplete UTF-8 are dropped."""
    data = bytes(token - BYTE_OFFSET for token in ids if BYTE_OFFSET <= token < BYTE_OFFSET + BYTES)
    return data.decode("utf-8", errors="ignore")


def timed_pass(engine: Engine, batches: list[list[str]], warmup: int) -> list[dict[str, Any]]:
    """Monotonic nanoseconds from text to ids and text, and the answers, batch by batch."""
    for texts in batches[:warmup]:
        engine.run(texts)
    results = []
    for texts in batches:
        began = time.perf_counter_ns()
        token_ids = engine.run(texts)
        answers = [decode(ids) for ids in token_ids]
        taken = time.perf_counter_ns() - began
        results.append({"ns": taken, "token_ids": token_ids, "texts": answers})
    return results


def serve(load: Callable[[dict[str, Any]], Engine]) -> None:
    """Answer requests until standard input ends."""

    def answer_to(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
        return {"batches": timed_pass(engine, request["batches"], request["warmup"])}

    converse(load, answer_to)
