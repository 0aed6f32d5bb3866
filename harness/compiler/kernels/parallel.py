"""Emit loops whose rounds the runtime may give to several threads.

Rounds write different elements and none reads what another writes, so that results are the same for any number of
threads: a sum is never cut. The runtime decides when a kernel runs (``native/shims/harness/thread_pool.cc``): one that
takes less than it costs to hand it over stays on its thread. What can be seen to be that small gets a plain loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tvm import tirx
from tvm.tirx.script import builder as T

from harness.compiler.kernels import scratch

LEAST_CYCLES = 12_000.0
"""The least cycles on one thread, estimated, that are cut: about four microseconds."""
TASKS = 32
"""The parts into which rounds are cut, of nearly equal size, in order; ``thread_pool.h`` has the same number. A thread
gets neighbouring parts, and the same ones of every kernel."""
ENOUGH = 8
"""The rounds that are aimed at. More would balance the threads' loads no better, and share less in caches."""
LEAST_PIXELS = 96
"""The least pixels or rows that share a pass over the weights."""

DYNAMIC_EXTENT = 32
"""What an extent that is known only when a kernel runs is taken for in estimates."""

_inside: ContextVar[bool] = ContextVar("inside", default=False)


def is_worth(cycles: float) -> bool:
    """Return whether a kernel that takes so many cycles is cut for threads."""
    return cycles >= LEAST_CYCLES


def estimated(*extents: Any) -> int:
    """Return the product of extents, with a guess for those that are known only when a kernel runs."""
    return math.prod(int(extent) if isinstance(extent, int | tirx.IntImm) else DYNAMIC_EXTENT for extent in extents)


def begin(task: Any, extent: Any) -> Any:
    """Return the first round of a task."""
    return tirx.truncdiv(task * extent, TASKS)


@contextmanager
def rounds(extent: Any, *, worth: bool = True, apart: bool = False) -> Iterator[Any]:
    """Emit a loop over independent rounds; yield its variable.

    With ``worth`` threads share it, unless it is inside another such loop. With ``apart`` each round then takes
    :func:`scratch` memory of its own.
    """
    if not worth or _inside.get() or (isinstance(extent, int) and extent < 2):
        with T.serial(extent) as at:
            yield at
        return
    token = _inside.set(True)
    try:
        with T.parallel(TASKS) as task:
            first = T.bind(begin(task, extent))
            with T.serial(first, begin(task + 1, extent)) as at:
                if apart:
                    with scratch.apart():
                        yield at
                else:
                    yield at
    finally:
        _inside.reset(token)
