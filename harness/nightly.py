"""The nightly as an object: baseline and candidate in interleaved pairs of fresh processes, and the verdict.

Which device, and how it is reached, is the device's affair; what is decided, and when, is that of
:mod:`harness.measure`; what has been measured is in the :mod:`harness.journal`, from which a night goes on.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.cache import hash_file
from harness.devices import Device, DeviceError, Notify, RunResult
from harness.errors import ExitCode, HarnessError, UsageError
from harness.journal import BrokenLine, GivenUpLine, Journal, Plan, RunLine, Side, Stage, UnitPlan
from harness.measure import (
    CellSessions,
    CellVerdict,
    Floor,
    GateVerdict,
    Session,
    Undecided,
    calibrate,
    deciding,
    is_suspect,
    judge_cells,
    judge_growth,
    judge_session,
    memory_growth,
    needs_another,
    overall,
    pairs_wanted,
    run_figure,
    size_growth,
)
from harness.protocol import Memory, Output, Phase, Probe, RecordOptions, Sample
from harness.results import now
from harness.validate import Decoded, Verdict, compare_word

METRIC = "latency"
TRIES = 3
"""Of a pair whose runner does not come to its end."""
SEED = 20_240_501
_STAGES: tuple[Stage, ...] = ("first", "confirmation")


class EmulatedDevice(UsageError):
    """Times of an emulator are compared with nothing."""

    cure = "choose a real device; an emulated one can still check parity: pytest suites --device …"


class RunnerChanged(HarnessError):
    """A runner is not the one that the night began with."""

    cure = "begin a new night; this one's pairs were measured with other runners"


class _OutOfTime(Exception):
    pass


def refuse_emulated(devices: Iterable[Device]) -> None:
    """Raises EmulatedDevice if one is."""
    for device in devices:
        if device.emulated:
            raise EmulatedDevice(f"{device.name} is emulated, and its times say nothing of a phone's")


@dataclass(frozen=True)
class LimitVerdict:
    """Of what needs no statistics: parity, memory, sizes, and a candidate that does not run."""

    metric: str
    verdict: GateVerdict
    cause: str


@dataclass(frozen=True)
class UnitResult:
    unit: UnitPlan
    latency: CellVerdict
    limits: tuple[LimitVerdict, ...]

    @property
    def verdict(self) -> GateVerdict:
        return overall([self.latency.verdict, *(limit.verdict for limit in self.limits)])


@dataclass(frozen=True)
class NightResult:
    plan: Plan
    units: tuple[UnitResult, ...]

    @property
    def verdict(self) -> GateVerdict:
        return overall([unit.verdict for unit in self.units])

    @property
    def exit_code(self) -> ExitCode:
        codes = {GateVerdict.FAIL: ExitCode.FAILURE, GateVerdict.INCONCLUSIVE: ExitCode.INFRASTRUCTURE}
        return codes.get(self.verdict, ExitCode.OK)


class Night:
    """One night, new or going on. ``devices`` are those of the plan's units, by the units' ``device``.

    ``budget``: seconds after which no further pair is begun. ``cooldown``: seconds to wait for a device to be fit.
    ``deadline``: seconds of one run. Raises EmulatedDevice, RunnerChanged, RunDamaged.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        devices: Mapping[str, Device],
        *,
        notify: Notify,
        budget: float | None = None,
        cooldown: float = 180.0,
        deadline: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_emulated(devices.values())
        for unit in plan.units:
            for side in (unit.a, unit.b):
                if not side.path.is_file() or hash_file(side.path) != side.sha256:
                    raise RunnerChanged(f"{side.path} is not the runner {side.sha256[:12]}… of the plan")
        self.plan = plan
        self._devices = devices
        self._notify = notify
        self._cooldown = cooldown
        self._deadline = deadline
        self._clock = clock
        self._until = clock() + budget if budget is not None else None
        self._journal = Journal(folder)

    def run(self) -> NightResult:
        """Measure what is missing and judge. What could not be measured is inconclusive, with its cause."""
        try:
            measured = {unit.name: self._measure(unit) for unit in self.plan.units}
        finally:
            self._journal.close()
        verdicts = judge_cells(measured, self.plan.rule)
        results = (UnitResult(unit, verdicts[unit.name], self._limits(unit)) for unit in self.plan.units)
        return NightResult(self.plan, tuple(results))

    def calibrate(self) -> dict[str, Floor]:
        """The floor of each unit's device from ``plan.calibrate`` sessions of its pairs; none for one without any."""
        sessions: dict[str, list[list[float]]] = defaultdict(list)
        try:
            for unit in self.plan.units:
                for attempt in range(self.plan.calibrate):
                    if self._session(unit, "first", attempt) is None:
                        sessions[unit.name].append(self._journal.ratios(unit.name, "first", attempt))
        finally:
            self._journal.close()
        rng = np.random.default_rng(SEED)
        return {name: calibrate(tables, rng) for name, tables in sessions.items()}

    def _measure(self, unit: UnitPlan) -> CellSessions:
        first = self._stage(unit, "first")
        return CellSessions(first, self._stage(unit, "confirmation") if is_suspect(first) else None)

    def _stage(self, unit: UnitPlan, stage: Stage) -> Session:
        attempts: list[Session] = []
        while needs_another(attempts, self.plan.rule):
            attempt = len(attempts)
            cause = self._session(unit, stage, attempt)
            attempts.append(self._judged(unit, stage, attempt) if cause is None else Undecided(cause))
            if cause is not None and unit.name in self._journal.broken:
                break
        return deciding(attempts)

    def _judged(self, unit: UnitPlan, stage: Stage, attempt: int) -> Session:
        # The same pairs are judged alike however often the night is resumed.
        rng = np.random.default_rng([SEED, _STAGES.index(stage), attempt])
        ratios = self._journal.ratios(unit.name, stage, attempt)
        return judge_session(ratios, rng=rng, rule=self.plan.rule, floor=unit.floor)

    def _session(self, unit: UnitPlan, stage: Stage, attempt: int) -> str | None:
        """Measure a session's missing pairs; the cause if that cannot be done."""
        known = self._journal.given_up(unit.name, stage, attempt) or self._journal.broken.get(unit.name)
        if known is not None:
            return known
        device = self._devices[unit.device]
        try:
            with device.reserve(notify=self._notify):
                while len(done := self._journal.ratios(unit.name, stage, attempt)) < self._wanted(done):
                    if self._until is not None and self._clock() >= self._until:
                        raise _OutOfTime
                    device.settle(wait_seconds=self._cooldown, notify=self._notify)
                    again = ", again" if attempt else ""
                    self._notify(f"{unit.name}: {stage} session{again}, pair {len(done) + 1} of {self._wanted(done)}")
                    cause = self._pair(unit, stage, attempt, len(done))
                    if cause is not None:
                        return self._give_up(unit, stage, attempt, cause)
        except _OutOfTime:
            # Nothing is written: with more time the night goes on here.
            return "the time budget was used up"
        except DeviceError as error:
            return self._give_up(unit, stage, attempt, str(error).splitlines()[0])
        return None

    def _wanted(self, done: list[float]) -> int:
        return pairs_wanted({METRIC: done}, self.plan.rule)

    def _give_up(self, unit: UnitPlan, stage: Stage, attempt: int, cause: str) -> str:
        self._journal.append(GivenUpLine(unit=unit.name, stage=stage, attempt=attempt, cause=cause))
        return cause

    def _pair(self, unit: UnitPlan, stage: Stage, attempt: int, pair: int) -> str | None:
        """Both runs, whose order alternates from pair to pair; the cause if one of them never came to its end."""
        order: tuple[Side, Side] = ("a", "b") if pair % 2 == 0 else ("b", "a")
        failures: dict[Side, list[str]] = {"a": [], "b": []}
        for _ in range(TRIES):
            self._journal.begin_pair(unit.name, stage, attempt, pair)
            for side in order:
                reason = self._run(unit, stage, attempt, pair, side)
                if reason is not None:
                    failures[side].append(reason)
                    break
            else:
                return None
        if len(failures["b"]) == TRIES:
            cause = f"the candidate's runner failed {TRIES} times: {failures['b'][-1]}"
            self._journal.append(BrokenLine(unit=unit.name, cause=cause))
            return cause
        return f"the runs of a pair did not end: {(failures['a'] + failures['b'])[0]}"

    def _run(self, unit: UnitPlan, stage: Stage, attempt: int, pair: int, side: Side) -> str | None:
        """One fresh process; the reason if it gave no whole result."""
        device, planned = self._devices[unit.device], unit.a if side == "a" else unit.b
        order = planned.order.model_copy(
            update={
                "order_id": f"{stage}-{attempt}-{pair}-{side}-{secrets.token_hex(4)}",
                "warmup": self.plan.warmup,
                "repetitions": self.plan.repetitions,
                # Token ids come with every sample; margins, which excuse a tie, only with a probe.
                "probe": RecordOptions(margins=True) if pair == 0 else None,
            }
        )
        started, conditions = now(), device.conditions()
        result = device.run(planned.path, order, deadline=self._deadline)
        if not result.complete:
            return result.reason or "incomplete"
        self._journal.append(_line(result, unit.name, stage, attempt, pair, side, started, conditions))
        return None

    def _limits(self, unit: UnitPlan) -> tuple[LimitVerdict, ...]:
        if broken := self._journal.broken.get(unit.name):
            return (LimitVerdict("runs at all", GateVerdict.FAIL, broken),)
        growths = [
            size_growth("runner size", unit.a.runner_bytes, unit.b.runner_bytes),
            size_growth("archive size", unit.a.archive_bytes, unit.b.archive_bytes),
        ]
        pairs = self._journal.all_pairs(unit.name)
        peaks = [[line.peak_bytes for line in side if line.peak_bytes is not None] for side in zip(*pairs, strict=True)]
        memory = memory_growth(*peaks) if peaks else None
        growths += [memory] if memory else []
        limits = [LimitVerdict(growth.metric, *judge_growth(growth)) for growth in growths]
        return (*limits, *([_parity(unit, *pairs[0])] if pairs else []))


def _line(
    result: RunResult,
    unit: str,
    stage: Stage,
    attempt: int,
    pair: int,
    side: Side,
    started: str,
    conditions: dict[str, object],
) -> RunLine:
    by_item: dict[str, list[int]] = defaultdict(list)
    outputs: dict[str, list[Output]] = defaultdict(list)
    for record in result.records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED:
            by_item[" ".join(record.items)].append(record.total_ns)
        if isinstance(record, Sample | Probe) and pair == 0:
            for item, output in zip(record.items, record.outputs, strict=True):
                if output not in outputs[item]:
                    outputs[item].append(output)
    return RunLine(
        unit=unit,
        stage=stage,
        attempt=attempt,
        pair=pair,
        side=side,
        started=started,
        figure=run_figure(by_item),
        samples=[(item, total) for item, totals in by_item.items() for total in totals],
        peak_bytes=next((r.peak_bytes for r in result.records if isinstance(r, Memory)), None),
        outputs=outputs,
        conditions=conditions,
        observed=result.observed,
    )


def _parity(unit: UnitPlan, a: RunLine, b: RunLine) -> LimitVerdict:
    """The candidate's tokens against the baseline's, word by word; float16 and int8 within their allowance."""
    items = {item.id: item for item in unit.a.order.items}
    rows = [
        compare_word(
            item, items[item].language, items[item].word, _expected(said), list(map(_decoded, b.outputs[item]))
        )
        for item, said in a.outputs.items()
        if item in b.outputs and item in items
    ]
    wrong = [row for row in rows if row.verdict.fails and row.verdict is not Verdict.MISSING]
    short = unit.allowance.shortcomings(words=len(rows), differing=len(wrong), per=None, expected_per=None)
    if not rows:
        return LimitVerdict("parity", GateVerdict.INCONCLUSIVE, "no word was run by both")
    if not short:
        return LimitVerdict("parity", GateVerdict.PASS, "")
    first = f"; first {items[wrong[0].item].word!r}: {wrong[0].expected!r} became {wrong[0].got!r}" if wrong else ""
    return LimitVerdict("parity", GateVerdict.FAIL, f"{short[0]}{first}")


def _expected(outputs: list[Output]) -> Decoded:
    """With margins if there are any, since they excuse a tie."""
    return next((found for found in map(_decoded, outputs) if found.margins is not None), _decoded(outputs[0]))


def _decoded(output: Output) -> Decoded:
    margins = None if output.margins is None else tuple(output.margins)
    return Decoded(tuple(output.token_ids), output.text, margins)


def new_plan(baseline: str, units: list[UnitPlan], **more: object) -> Plan:
    """A plan with an id of its own; ``more`` are fields of it."""
    night_id = f"{now()[:19].replace('-', '').replace(':', '').replace('T', '-')}-{secrets.token_hex(2)}"
    return Plan.model_validate({"night_id": night_id, "started": now(), "baseline": baseline, "units": units, **more})
