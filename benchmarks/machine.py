"""Measure what one core of this machine can do at most: read memory, multiply and add."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.vector import get, put, span
from harness.compiler.observe.machine import (
    CHAINS,
    DOTS,
    STREAMS,
    emit_dot,
    emit_multiply_add,
    emit_read,
    function,
    started,
)
from harness.compiler.targets import CompileTarget

MEGABYTE = 2**20
WORKING_SETS = tuple(MEGABYTE << power for power in range(7))
"""Bytes: 1, 2, 4, … 64 MB, from a core's own cache to beyond the last one."""
READ_BYTES = 256 * MEGABYTE
"""Read in one call, so that a call takes milliseconds and its overhead of microseconds does not count."""
REPEATS = 2_000_000
WIDEN_ROWS, WIDEN_PASSES = 32, 40_000
"""A few kilobytes of float16, which stay in the nearest cache."""
WIDENED = "float16, each widened"


@dataclass(frozen=True)
class Machine:
    """``bandwidth``: bytes a second by working set in bytes; ``rates``: multiply-adds a second by kernel."""

    bandwidth: dict[int, float]
    rates: dict[str, float]

    def rate(self, variant: str, dot: str | None) -> tuple[str, float]:
        """Return the kernel that bounds a variant, and its rate: int8 by its dot product, all others by float32."""
        name = dot if variant == "int8" and dot in self.rates else "float32"
        assert name is not None
        return name, self.rates[name]


def dot_names(target: CompileTarget) -> list[str]:
    """Return the integer dot products that kernels use by the target's profile and that can be measured here."""
    profile = target.profile
    wanted = [getattr(profile, "integer", "pairs"), "pairs"]
    return [name for name in dict.fromkeys(wanted) if (name, profile.lanes) in DOTS]


def measure_machine(target: CompileTarget, tries: int) -> Machine:
    """Return the best of ``tries`` on the calling thread, as it is pinned: what disturbs can only make it slower."""
    lanes = target.profile.lanes
    rates = {"float32": _rate(_multiply_add(target), CHAINS * lanes * REPEATS, tries)}
    rates[WIDENED] = _rate(_widen(target), STREAMS * lanes * WIDEN_ROWS * WIDEN_PASSES, tries)
    for name in dot_names(target):
        macs = CHAINS * lanes * DOTS[name, lanes].per_lane * REPEATS
        rates[name] = _rate(_dot(target, name), macs, tries)
    read = build("read", lambda: emit_read(lanes), target)
    return Machine({size: _rate(_reading(read, lanes, size), READ_BYTES, tries) for size in WORKING_SETS}, rates)


def build(name: str, emit: Callable[[], None], target: CompileTarget) -> Any:
    """Build the statements of ``emit`` as a function on this machine."""
    return tvm.compile(tvm.IRModule({name: function(name, emit)}), tvm.target.Target(target.tvm))[name]


def emit_widen(lanes: int) -> None:
    """(x float16 [N, STREAMS * lanes], factors float32 [lanes], passes int32 [1], sums float32 [STREAMS * lanes]).

    Every element is widened to float32, multiplied and added, as one row meets float16 weights.
    """
    columns = STREAMS * lanes
    x = T.arg("x", T.Buffer((tvm.tirx.Var("rows", "int64"), columns), "float16"))
    factors = T.arg("factors", T.Buffer((lanes,), "float32"))
    passes = T.arg("passes", T.Buffer((1,), "int32"))
    sums = T.arg("sums", T.Buffer((columns,), "float32"))
    factor = T.bind(factors[span(0, lanes)])
    chains = started(STREAMS, lanes, "float32")
    with T.serial(passes[0]), T.serial(x.shape[0]) as row:
        for at, register in enumerate(chains):
            wide = T.Cast(f"float32x{lanes}", x[row, span(at * lanes, lanes)])
            put(register, get(register, lanes) + factor * wide, lanes)
    for at, register in enumerate(chains):
        T.buffer_store(sums, get(register, lanes), [span(at * lanes, lanes)])


def _rate(call: Callable[[], Any], amount: float, tries: int) -> float:
    """``amount`` per second in the fastest of the calls, the first of which is not counted."""
    call()
    taken = []
    for _ in range(tries):
        began = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began)
    return amount / min(taken) * 1e9


def _reading(read: Any, lanes: int, size: int) -> Callable[[], Any]:
    x = _tensor(np.ones((size // (4 * STREAMS * lanes), STREAMS * lanes), np.float32))
    sums, passes = _tensor(np.zeros(STREAMS * lanes, np.float32)), _tensor(np.array([READ_BYTES // size], np.int32))
    return lambda: read(x, passes, sums)


def _multiply_add(target: CompileTarget) -> Callable[[], Any]:
    lanes = target.profile.lanes
    kernel = build("multiply_add", lambda: emit_multiply_add(lanes), target)
    factors = _tensor(np.full((2, lanes), 0.5, np.float32))
    sums, repeats = _tensor(np.zeros((CHAINS, lanes), np.float32)), _tensor(np.array([REPEATS], np.int32))
    return lambda: kernel(factors, repeats, sums)


def _widen(target: CompileTarget) -> Callable[[], Any]:
    lanes = target.profile.lanes
    kernel = build("widen", lambda: emit_widen(lanes), target)
    x, factors = _tensor(np.ones((WIDEN_ROWS, STREAMS * lanes), np.float16)), _tensor(np.full(lanes, 0.5, np.float32))
    sums, passes = _tensor(np.zeros(STREAMS * lanes, np.float32)), _tensor(np.array([WIDEN_PASSES], np.int32))
    return lambda: kernel(x, factors, passes, sums)


def _dot(target: CompileTarget, name: str) -> Callable[[], Any]:
    lanes = target.profile.lanes
    dot = DOTS[name, lanes]
    kernel = build("dot", lambda: emit_dot(lanes, dot), target)
    x = _tensor(np.full((2, lanes * dot.per_lane), 3, dot.dtype).view(np.int32))
    sums, repeats = _tensor(np.zeros((CHAINS, lanes), np.int32)), _tensor(np.array([REPEATS], np.int32))
    return lambda: kernel(x, repeats, sums)


def _tensor(array: Any) -> Any:
    return tvm.runtime.tensor(np.ascontiguousarray(array))
