"""Run several devices at once: a thread for each does its run's steps before the tests ask for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import HarnessError
from harness.run.session import RunSession

STOP_SECONDS = 30.0

StepName = Literal["describe", "smoke", "parity", "latency", "profile", "gate", "models", "pairs"]


@dataclass(frozen=True)
class Step:
    """Name a step of a run that a test will ask for.

    ``models`` stands for smoke, parity and latency. ``model`` is a name of ``--models``; None means all of them.
    ``variant`` None means the timed one.
    """

    name: StepName
    model: str | None = None
    variant: str | None = None

    def do(self, run: RunSession) -> None:
        if self.name == "describe":
            run.describe(self.variant or run.options.variant)
        elif self.name == "gate":
            run.gate()
        else:
            for name in run.model_names if self.model is None else run.of(self.model):
                self._do(run, name)

    def _do(self, run: RunSession, name: str) -> None:
        workload = run.workloads[name]
        if self.name in ("smoke", "models"):
            workload.smoke(self.variant)
        if self.name in ("parity", "models"):
            workload.parity(self.variant)
        if self.name in ("latency", "models"):
            workload.times()
        if self.name == "profile":
            run.profile(name)
        if self.name == "pairs":
            run.pairs(name)


class Prefetch:
    """Hold the threads. They live until their steps are done or :meth:`stop` is called."""

    def __init__(self, jobs: Mapping[RunSession, Sequence[Step]]) -> None:
        self._stopped = threading.Event()
        self._jobs = jobs
        self._threads = [
            threading.Thread(target=self._work, args=(run, steps), name=f"harness {run.device.name}", daemon=True)
            for run, steps in jobs.items()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> set[RunSession]:
        """Begin no further step, and end orders under way through their devices, all at once.

        Returns the runs whose threads have not stopped in time, for example one that waits for cargo. Nobody else may
        touch those runs.
        """
        self._stopped.set()
        busy = [run for run, thread in zip(self._jobs, self._threads, strict=True) if thread.is_alive()]
        for run in busy:
            run.device.stop()
        until = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return {run for run, thread in zip(self._jobs, self._threads, strict=True) if thread.is_alive()}

    def _work(self, run: RunSession, steps: Sequence[Step]) -> None:
        for step in steps:
            if self._stopped.is_set():
                return
            try:
                step.do(run)
            except HarnessError:
                continue  # The run keeps the error, and raises it again when a test asks for the step.
            except Exception:
                return  # The run does not keep it: the test does the step again and shows where it fails.
