"""Talk to the parent of a worker: one JSON request a line, one answer a line. Imports nothing but Python's own."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol, TypeVar


class Loaded(Protocol):
    """An engine that says what it is."""

    facts: dict[str, str]


E = TypeVar("E", bound=Loaded)


def converse(load: Callable[[dict[str, Any]], E], answer_to: Callable[[E, dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until standard input ends, which it also does when the parent dies.

    ``load`` makes the engine for ``{"do": "load", …}``, and its facts are the answer; ``answer_to`` answers all others.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; only answers may reach the parent
    engine: E | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                engine = load(request)
                answer: dict[str, Any] = {"facts": engine.facts}
            else:
                assert engine is not None, "something was asked for before the engine was loaded"
                answer = answer_to(engine, request)
        except Exception as error:  # any failure of a library is an answer, not the end of the conversation
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
