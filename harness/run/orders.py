"""Run the orders of a run: deploy the runner, run the order, and keep every record as it arrives, whatever follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from harness.core.errors import HarnessError
from harness.core.progress import ProgressStage
from harness.devices import AnyRecord, Device, RunResult
from harness.native import Runner
from harness.protocol.schema import Header, Probe, Sample, WorkOrder
from harness.results import OrderEntry, RunWriter, SampleLine, called, now
from harness.results.schema.profile import ProfileLine

MB = 1_000_000
Purpose = Literal["smoke", "parity", "latency", "profile"]
FORESEEN_PASSES, FORESEEN_SHARE, FORESEEN_MARGIN = 5, 0.05, 1.5
"""An order is given up after so many passes and such a share of its deadline, if it would take so many times as long as
its deadline. Passes differ, but not all of them by that much."""


class _HasNoTime(Exception):
    """An order cannot end within its deadline."""


class Foresight:
    """Foresee from the passes that have arrived whether an order of ``total`` passes ends in time."""

    def __init__(self, total: int, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._deadline, self._clock = total, deadline, clock
        self._began: float | None = None
        self._arrived = 0

    def arrived(self) -> str | None:
        """Count one more pass; return why the order should be given up, or None if it should not.

        The first pass only starts the clock, because the time before it belongs to no pass.
        """
        if self._began is None:
            self._began = self._clock()
            return None
        self._arrived += 1
        elapsed = self._clock() - self._began
        wanted = elapsed / self._arrived * self._total
        early = self._arrived < FORESEEN_PASSES or elapsed < FORESEEN_SHARE * self._deadline
        if early or wanted <= FORESEEN_MARGIN * self._deadline:
            return None
        return (
            f"it would take about {wanted:.0f} s and has {self._deadline:g}, as {self._arrived + 1} of its "
            f"{self._total} passes show: allow for it with --deadline {2 * wanted:.0f}, or run fewer --words or "
            "a smaller --repeat"
        )


@dataclass(frozen=True)
class Orders:
    """Run the orders of one run on one device.
    ``cooldown``: seconds to wait until the device is fit to be timed. ``deadline``: seconds of one order.
    """

    device: Device
    writer: RunWriter
    stage: Callable[[str], AbstractContextManager[ProgressStage]]
    cooldown: float
    deadline: float

    def deploy(self, runner: Runner) -> None:
        """Deploy the runner. This is done before every order: the files may be gone, and looking costs milliseconds."""
        with self.stage(f"pushing the runner to {self.device.name}, MB") as stage:
            self.device.deploy(runner.path, on_push=lambda done, total: stage.advance(done // MB, total // MB))

    def run(
        self, purpose: Purpose, workload: str, variant: str, runner: Runner, order: WorkOrder, total: int
    ) -> RunResult:
        """Run an order of ``total`` samples and probes, and keep its records line by line as they arrive.
        ``variant`` is empty for a workload without variants.
        """
        self.deploy(runner)
        with (
            self.stage(f"running {purpose} ({called(workload, variant)})") as stage,
            self.device.reserve(notify=stage.describe),
        ):
            if purpose in ("latency", "profile"):
                self.device.settle(wait_seconds=self.cooldown, notify=stage.describe)
            entry = OrderEntry(
                order_id=order.order_id,
                purpose=purpose,
                workload=workload,
                variant=variant,
                started=now(),
                conditions_before=self.device.conditions(),
                reason="has not ended",
            )
            self.writer.begin_order(entry, order)
            return self._follow(entry, runner, order, self._keeper(purpose, runner, order, total, stage))

    def _keeper(
        self, purpose: Purpose, runner: Runner, order: WorkOrder, total: int, stage: ProgressStage
    ) -> Callable[[AnyRecord], None]:
        """Return the function that keeps every record; the function raises _HasNoTime."""
        arrived, foresight = 0, Foresight(total, self.deadline)

        def keep(record: AnyRecord) -> None:
            nonlocal arrived
            if purpose == "profile":
                profiled = runner.archive.metadata.profiled
                self.writer.profile(ProfileLine.of(order.order_id, profiled, record))
            else:
                self.writer.sample(SampleLine(order=order.order_id, record=record))
            if isinstance(record, Header):
                self._note_runner(runner, record.runner_version)
            elif isinstance(record, Sample | Probe):
                arrived += 1
                stage.advance(arrived, total)
                if (hopeless := foresight.arrived()) is not None:
                    raise _HasNoTime(hopeless)

        return keep

    def _follow(
        self, entry: OrderEntry, runner: Runner, order: WorkOrder, keep: Callable[[AnyRecord], None]
    ) -> RunResult:
        ended: dict[str, Any] = {"reason": "interrupted"}
        records: list[AnyRecord] = []

        def kept(record: AnyRecord) -> None:
            records.append(record)
            keep(record)

        try:
            try:
                result = self.device.run(runner.path, order, deadline=self.deadline, on_record=kept)
            except _HasNoTime as hopeless:
                result = RunResult(order.order_id, tuple(records), complete=False, reason=str(hopeless))
            ended = {
                "complete": result.complete,
                "reason": result.reason,
                "wall_seconds": result.wall_seconds,
                "resumed": result.resumed,
                "knobs": list(result.knobs),
                "observed": result.observed,
            }
        except HarnessError as error:
            ended = {"reason": str(error).splitlines()[0]}
            raise
        finally:
            after = {"ended": now(), "conditions_after": self.device.conditions()}
            self.writer.end_order(entry.model_copy(update={**ended, **after}))
        return result

    def _note_runner(self, runner: Runner, version: str) -> None:
        known = self.writer.manifest.variants
        changed = {
            name: facts.model_copy(update={"runner_version": version})
            for name, facts in known.items()
            if facts.runner_sha256 == runner.sha256 and facts.runner_version != version
        }
        if changed:
            self.writer.update(variants={**known, **changed})
