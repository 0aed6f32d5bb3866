"""Count what a token costs beside what the machine can do: bytes read, the memory's speed, and peak memory."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from benchmarks.machine import build
from benchmarks.pinning import pinned
from harness.compiler.observe.machine import STREAMS, emit_read
from harness.compiler.targets import resolve_target
from harness.models.language.workload import LanguageModel
from harness.protocol.schema import Precision

READ_BYTES = 256 << 20
"""Far more than any cache holds: memory that is read once, as a step reads its weights."""
READS = 3


def token_bytes(model: LanguageModel, precision: Precision, weights_bytes: int) -> int:
    """Return the bytes that a token in the middle of the answers reads: weights, but for the embeddings, and cache."""
    decoder = model.decoder
    width = 4 if precision == "fp32" else 2
    positions = max(map(len, model.prompts.values())) + model.tokens // 2
    # The head has a copy of its own in panels, so that a step reads one row of the table.
    read = weights_bytes - width * decoder.vocab_size * decoder.width
    cached: int = width * decoder.layers * 2 * decoder.keys * positions
    return read + cached


def bandwidth(cores: Sequence[int]) -> float:
    """Return the bytes a second that one thread reads on these cores, in the best of a few passes."""
    read, x, passes, sums = _reader()
    taken = []
    with pinned(cores):
        for _ in range(READS):
            began = time.perf_counter_ns()
            read(x, passes, sums)
            taken.append(time.perf_counter_ns() - began)
    return READ_BYTES / min(taken) * 1e9


@cache
def _reader() -> tuple[Any, Any, Any, Any]:
    target = resolve_target("llvm")
    lanes = target.profile.lanes
    rows = READ_BYTES // (4 * STREAMS * lanes)
    arrays = (np.ones((rows, STREAMS * lanes), np.float32), np.ones(1, np.int32), np.zeros(STREAMS * lanes, np.float32))
    return build("read", lambda: emit_read(lanes), target), *map(tvm.runtime.tensor, arrays)


def peak_memory(pid: int) -> int | None:
    """Return the bytes that a process had resident at most; None where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def load() -> str:
    """Return how many processes wanted to run in the last minute, for a table's title."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
