"""Which cores a process may use. Where the system has no such call, nothing is pinned, and the tables show it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core.errors import UsageError

AVAILABLE = hasattr(os, "sched_setaffinity")


def choose_cores(first: int, threads: int) -> tuple[int, ...]:
    """Cores ``first`` to ``first + threads - 1``; raises UsageError if this process may not use one of them."""
    cores = tuple(range(first, first + threads))
    if AVAILABLE and not set(cores) <= os.sched_getaffinity(0):
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise UsageError(
            f"cores {first} to {first + threads - 1} are not all usable", cure=f"this process may use cores {usable}"
        )
    return cores


def pin(cores: Sequence[int]) -> None:
    """Keep the calling thread, and what it starts from now on, on these cores."""
    if AVAILABLE:
        os.sched_setaffinity(0, cores)


def step_aside(cores: Sequence[int], usable: Sequence[int]) -> None:
    """Move the calling thread to the other usable cores, if there are any."""
    pin(sorted(set(usable) - set(cores)) or usable)


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Pin the calling thread to these cores for a while; yields the cores it could use before."""
    before = tuple(sorted(os.sched_getaffinity(0))) if AVAILABLE else ()
    pin(cores)
    try:
        yield before
    finally:
        if AVAILABLE:
            os.sched_setaffinity(0, before)


def schedule_first(pid: int, *, first: bool) -> None:
    """Let a process run before all others on its cores, or as others do again; 0 is the calling thread.

    Raises UsageError where this user or this system may not.
    """
    policy, priority = ("SCHED_FIFO", 1) if first else ("SCHED_OTHER", 0)
    tasks = [0] if pid == 0 else [int(task.name) for task in Path(f"/proc/{pid}/task").glob("*")]
    try:
        for task in tasks:
            with suppress(ProcessLookupError):  # a thread that has ended meanwhile
                os.sched_setscheduler(task, getattr(os, policy), os.sched_param(priority))
    except (OSError, AttributeError) as error:
        raise UsageError(
            f"engines cannot be scheduled before other processes: {error}", cure="leave out --ahead, or be root"
        ) from error


@contextmanager
def scheduled_first(pid: int, *, wanted: bool) -> Iterator[None]:
    """Let a process run before all others for a while, if that is wanted."""
    if wanted:
        schedule_first(pid, first=True)
    try:
        yield
    finally:
        if wanted:
            schedule_first(pid, first=False)


def describe(cores: Sequence[int]) -> str:
    if not AVAILABLE:
        return "not pinned (this system cannot)"
    return f"pinned to core {cores[0]}" if len(cores) == 1 else f"pinned to cores {cores[0]} to {cores[-1]}"
