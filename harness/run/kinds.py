"""Find the kinds of workloads. Each kind opens the workloads that the options name, and a session names no kind.

Kinds register by entry point, in the group ``harness.workloads``. A kind still compiles through
:class:`harness.run.builder.Builder`, which supports only the two existing kinds.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.run.builder import RunOptions
from harness.run.context import RunContext
from harness.run.workload import WorkloadRun

GROUP = "harness.workloads"


class WorkloadKindBroken(HarnessError):
    """An installed package offers a kind of workload that cannot be loaded."""

    cure = "install the package again, or remove it"


@dataclass(frozen=True)
class WorkloadKind:
    """Open the workloads of one kind.
    ``open`` returns the workloads of this kind that a run's options name, by name; none if the options name none. It
    checks everything that a person could have got wrong. It raises UsageError and what looking at a model raises.
    """

    name: str
    open: Callable[[RunContext, RunOptions], Mapping[str, WorkloadRun]]


def workload_kinds() -> list[WorkloadKind]:
    """Return every kind that is installed, by name. Raises WorkloadKindBroken."""
    found = []
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            kind = entry.load()
        except Exception as error:  # Importing a foreign package can raise anything.
            raise WorkloadKindBroken(f"the kind of workload {entry.name!r} ({entry.value}): {error}") from error
        if not isinstance(kind, WorkloadKind):
            raise WorkloadKindBroken(f"the kind of workload {entry.name!r} ({entry.value}) is no WorkloadKind")
        found.append(kind)
    return found
