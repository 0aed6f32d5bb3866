"""A device whose runs take the time in their runner's file, with seeded noise: nightly runs in milliseconds."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.conformance.fake_runners import make_order
from harness.core.cache import hash_file
from harness.devices import DeviceLost, DeviceNotReady, Notify, OnPush, OnRecord, RunnerDescription, RunResult
from harness.protocol.schema import Memory, Output, Phase, Probe, Sample, WorkOrder
from harness.regression.plan import new_plan
from harness.results.journal import Plan, SidePlan, UnitPlan

SHARES = (0.2, 0.02, 0.35, 0.35)
"""Of a run's time: encoder, prefill, and two steps."""
RUNNER_BYTES, ARCHIVE_BYTES, PEAK_BYTES = 5_000_000, 4_000_000, 40_000_000
"""Of a side whose size is not given."""


class FakeDevice:
    """``noise`` is between processes. ``lost_at``, ``hot_at``: runs (counted from 0) that meet a lost or hot device;
    ``throttled_from``: the run from which everything takes half as long again."""

    kind = "fake"
    target = "llvm"

    def __init__(
        self,
        *,
        name: str = "phone",
        noise: float = 0.01,
        seed: int = 1,
        emulated: bool = False,
        lost_at: int | None = None,
        hot_at: int | None = None,
        throttled_from: int | None = None,
    ) -> None:
        self.name, self.emulated = name, emulated
        self.companion: str | None = None
        self._noise, self._rng = noise, random.Random(seed)
        self._lost_at, self._hot_at, self._throttled_from = lost_at, hot_at, throttled_from
        self.ran: list[str] = []
        """``a`` or ``b`` of every run, by the runner's own word."""
        self.held = 0

    def deploy(self, runner: Path, *, on_push: OnPush | None = None) -> str:
        return str(runner)

    def stop(self) -> None:
        pass

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name}

    def conditions(self) -> dict[str, Any]:
        return {"celsius": 30.0}

    @contextmanager
    def reserve(self, *, wait_seconds: float = 0.0, notify: Notify = print) -> Iterator[None]:
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    def settle(self, *, wait_seconds: float = 0.0, notify: Notify = print) -> None:
        if len(self.ran) == self._hot_at:
            raise DeviceNotReady("the battery has 45 °C")

    def describe(self, runner: Path, *, deadline: float = 30.0) -> RunnerDescription:
        raise AssertionError("a nightly run asks no runner what it is")

    def close(self) -> None:
        pass

    def run(
        self,
        runner: Path,
        order: WorkOrder,
        workdir: Path | None = None,
        deadline: float = 600.0,
        on_record: OnRecord | None = None,
    ) -> RunResult:
        assert self.held, "a device is held while it is measured"
        facts = json.loads(runner.read_text())
        at = len(self.ran)
        self.ran.append(facts["side"])
        if at == self._lost_at:
            raise DeviceLost("the device went away")
        if facts.get("crashes"):
            return RunResult(order.order_id, (), False, "the runner was killed by SIGSEGV")
        speed = facts["ns"] * math.exp(self._rng.gauss(0, self._noise))
        if self._throttled_from is not None and at >= self._throttled_from:
            speed *= 1.5
        factors = [facts.get(name, 1.0) for name in ("encoder", "prefill", "steps", "steps")]
        parts = [int(speed * share * by) for share, by in zip(SHARES, factors, strict=True)]
        records: list[Any] = []
        for repetition in range(order.repetitions):
            for item in order.items:
                text = facts.get("answers", {}).get(item.label, item.label)
                text += str(repetition) if facts.get("fickle") else ""
                output = Output(token_ids=[*text.encode(), 1], text=text)
                records.append(
                    Sample(
                        record="sample",
                        workload="g2p",
                        items=[item.id],
                        phase=Phase.TIMED,
                        repetition=repetition,
                        outputs=[output],
                        total_ns=sum(parts) + int(0.08 * speed),
                        parts={"encoder": parts[:1], "prefill": parts[1:2], "step": parts[2:]},
                    )
                )
                if order.probe and not repetition:
                    probed = output.model_copy(update={"margins": [facts.get("margin", 2.0)] * len(output.token_ids)})
                    records.append(Probe(record="probe", workload="g2p", items=[item.id], outputs=[probed]))
        records.append(Memory(record="memory", peak_bytes=facts.get("peak", PEAK_BYTES)))
        return RunResult(order.order_id, tuple(records), True)


def side(folder: Path, name: str, *, size: int = RUNNER_BYTES, **facts: Any) -> SidePlan:
    path = folder / f"{name}-{random.Random(str(facts)).getrandbits(32):08x}"
    path.write_text(json.dumps({"side": name, "ns": 1_000_000, **facts}))
    return SidePlan(
        path=path, sha256=hash_file(path), runner_bytes=size, archive_bytes=ARCHIVE_BYTES, order=make_order()
    )


def make_plan(folder: Path, *, slower: float = 0.0, calibrate: int = 0, **facts: Any) -> Plan:
    """One unit on ``phone``, B slower by that fraction; ``facts`` are those of B's runner, such as how many times
    longer its ``encoder`` takes."""
    a = side(folder, "a")
    size = facts.pop("size", RUNNER_BYTES)
    b = side(folder, "b", ns=int(1_000_000 * (1 + slower)), size=size, **facts)
    unit = UnitPlan(name="phone/cache", device="phone", model="m", variant="cache", a=a, b=b)
    return new_plan("main", [unit], calibrate=calibrate, repetitions=3)
