"""Serve as one engine with one model: one JSON request a line on standard input, one JSON answer a line on output.

- ``{"do": "convert", "source": FOLDER, "folder": FOLDER, "precision": NAME}`` makes the engine's own model. A process
  that converts does nothing else.
- ``{"do": "prepare"}`` imports the engine's library, so that the next request begins with the model alone.
- ``{"do": "load", "model": FILE, "inputs": FILE.npz, "threads": N}`` makes the engine and calls it once. It answers
  with ``facts``, ``load_ns`` and ``first_ns``.
- ``{"do": "answer", "file": FILE.npz}`` writes what the last call returned, as ``out0``, ``out1`` and so on.
- ``{"do": "round", "ns": N}`` calls it once untimed, then until the calls have taken so long, at least three times. It
  answers with ``ns``.
- ``{"do": "memory"}`` answers with ``base_bytes``, what the process held with the engine's library imported, and
  ``peak_bytes``, the most since then.

What fails answers ``{"error": "…"}``. Only numpy is needed beside the engine. The parent is ``benchmarks.processes``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

LEAST_CALLS = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Engine(Protocol):
    """A loaded model with its inputs in place."""

    facts: dict[str, str]
    """Versions and settings, for the table."""

    def run(self) -> None:
        """Make one call."""
        ...

    def outputs(self) -> list[Any]:
        """Return what the last call gave, as arrays."""
        ...


Convert = Callable[[Path, Path, str], None]
"""Takes the folder of the exported model, the one to write into, and the precision."""

Load = Callable[[str, list[Any], int], Engine]
"""Takes the model's file or folder, the inputs and the number of threads."""


def memory(field: str) -> int | None:
    """Return ``VmRSS`` or ``VmHWM`` in bytes; None where the system does not show it."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) * 1024 if found else None


def timed_round(engine: Engine, wanted_ns: int) -> list[int]:
    """Return the nanoseconds of each call of a round; the first call, which finds cold caches, is left out."""
    engine.run()
    times: list[int] = []
    while sum(times) < wanted_ns or len(times) < LEAST_CALLS:
        began = time.perf_counter_ns()
        engine.run()
        times.append(time.perf_counter_ns() - began)
    return times


class Session:
    """Hold the engine between requests."""

    def __init__(self, prepare: Callable[[], Load], convert: Convert) -> None:
        self._prepare, self._convert = prepare, convert
        self._load_model: Load | None = None
        self._engine: Engine | None = None
        self._base: int | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "convert":
            self._convert(Path(request["source"]), Path(request["folder"]), request["precision"])
            return {}
        if self._load_model is None:
            self._load_model = self._prepare()
        if request["do"] == "prepare":
            return {}
        if request["do"] == "load":
            return self._load(request, self._load_model)
        if self._engine is None:
            raise ValueError("the engine was not loaded")
        if request["do"] == "answer":
            keep: Any = np.savez
            keep(request["file"], **{f"out{at}": array for at, array in enumerate(self._engine.outputs())})
            return {}
        if request["do"] == "memory":
            return {"base_bytes": self._base, "peak_bytes": memory("VmHWM")}
        return {"ns": timed_round(self._engine, request["ns"])}

    def _load(self, request: dict[str, Any], load: Load) -> dict[str, Any]:
        with np.load(request["inputs"]) as kept:
            inputs = [kept[f"in{at}"] for at in range(len(kept.files))]
        with contextlib.suppress(OSError):
            CLEAR.write_text("5", encoding="utf-8")  # the peak starts again: importing a library may have had its own
        self._base = memory("VmRSS")
        began = time.perf_counter_ns()
        self._engine = load(request["model"], inputs, request["threads"])
        loaded = time.perf_counter_ns()
        self._engine.run()
        called = time.perf_counter_ns()
        return {"facts": self._engine.facts, "load_ns": loaded - began, "first_ns": called - loaded}


def serve(prepare: Callable[[], Load], convert: Convert) -> None:
    """Answer requests until standard input ends, which it also does when the parent dies.

    ``prepare`` imports the engine's library, and returns what loads a model.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; only answers may reach the parent
    session = Session(prepare, convert)
    for line in sys.stdin:
        try:
            answer = session.answer(json.loads(line))
        except Exception as error:  # any failure of a library is an answer, not the end of the conversation
            traceback.print_exc()
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text[:500]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
