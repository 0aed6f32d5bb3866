"""Run several devices at once: a thread for each does its run's steps before the tests ask for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.core.errors import HarnessError
from harness.run.builder import Variant
from harness.run.session import RunSession

STOP_SECONDS = 30.0

StepName = Literal["describe", "smoke", "parity", "latency", "profile", "gate", "models", "pairs"]
STEPS: tuple[StepName, ...] = ("describe", "smoke", "parity", "latency", "profile", "gate", "models", "pairs")


@dataclass(frozen=True)
class Step:
    """Name a step of a run that a test will ask for; ``variant`` None means the timed one."""

    name: StepName
    variant: Variant | None = None

    def do(self, run: RunSession) -> None:
        variant = self.variant or run.options.variant
        if self.name == "describe":
            run.describe(variant)
        elif self.name == "smoke":
            run.generation.smoke(variant)
        elif self.name == "parity":
            run.generation.parity(variant)
        elif self.name == "latency":
            run.generation.times()
        elif self.name == "profile":
            for name in run.model_names:
                run.profile(name)
        elif self.name == "pairs":
            for name in run.model_names:
                run.pairs(name)
        elif self.name == "models":
            for workload in run.tensors.values():
                workload.smoke()
                workload.parity()
                workload.times()
        else:
            run.gate()


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
