"""Make a nightly run: measure baseline and candidate in interleaved pairs of fresh processes, and judge.

The device object reaches the device. :mod:`harness.measure` makes the decisions. :mod:`harness.results.journal` keeps
what has been measured, and a resumed nightly run continues from it.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.core.cache import hash_file
from harness.core.errors import HarnessError, UsageError
from harness.devices import Device, DeviceError, Notify, RunResult
from harness.measure import (
    LATENCY,
    METRICS,
    CellSessions,
    CellVerdict,
    Floor,
    GateVerdict,
    Judgement,
    Pass,
    Session,
    Undecided,
    calibrate,
    deciding,
    is_suspect,
    judge_cells,
    judge_session,
    needs_another,
    overall,
    pairs_wanted,
    run_figures,
)
from harness.protocol.schema import Memory, Output, Phase, Probe, RecordOptions, Sample, Tensors
from harness.regression.limits import LimitVerdict, judge_limits
from harness.results import now
from harness.results.errors import writing
from harness.results.journal import BrokenLine, GivenUpLine, Journal, Plan, RunLine, Side, Stage, UnitPlan

TRIES = 3
"""How often a pair is tried if a runner does not come to its end."""
SEED = 20_240_501
_STAGES: tuple[Stage, ...] = ("first", "confirmation")


class EmulatedDevice(UsageError):
    """Times of an emulator cannot be compared with anything."""

    cure = (
        "choose a real device; an emulated one can still check parity (pytest suites --device …), and "
        "`harness nightly --emulated` judges all but its times"
    )


class RunnerChanged(HarnessError):
    """A runner is not the one with which the nightly run began."""

    cure = "begin a new nightly run; this one's pairs were measured with other runners"


class _OutOfTime(Exception):
    pass


def refuse_emulated(devices: Iterable[Device]) -> None:
    """Raise EmulatedDevice if one of the devices is emulated."""
    for device in devices:
        if device.emulated:
            raise EmulatedDevice(f"{device.name} is emulated, and its times are no measure of a phone's")


@dataclass(frozen=True)
class UnitResult:
    """Hold the result of a unit.
    ``cells`` are by metric, the latency first; ``shares`` are each part's fraction of the latency.
    """

    unit: UnitPlan
    cells: dict[str, CellVerdict]
    shares: dict[str, float]
    limits: tuple[LimitVerdict, ...]

    @property
    def latency(self) -> CellVerdict:
        return self.cells[LATENCY]

    @property
    def verdict(self) -> GateVerdict:
        """Return the worst verdict of all. Inconclusive parts do not count, because the whole contains them.

        Of an emulated device only the limits count.
        """
        if self.unit.emulated:
            return overall([limit.verdict for limit in self.limits])
        parts = [cell.verdict for metric, cell in self.cells.items() if metric != LATENCY]
        decided = [verdict for verdict in parts if verdict is not GateVerdict.INCONCLUSIVE]
        return overall([self.latency.verdict, *decided, *(limit.verdict for limit in self.limits)])


def _unjudged(sessions: CellSessions) -> CellVerdict:
    return CellVerdict(GateVerdict.INCONCLUSIVE, "emulated: this time is shown and not judged", sessions, 1.0)


_Measured = Undecided | dict[str, Judgement]
"""The result of a session: a judgement for each metric, or why there is none."""


@dataclass(frozen=True)
class NightlyResult:
    plan: Plan
    units: tuple[UnitResult, ...]

    @property
    def verdict(self) -> GateVerdict:
        return overall([unit.verdict for unit in self.units])


class NightlyRun:
    """Make one nightly run, new or resumed. ``devices`` are those of the plan's units, by the units' ``device``.

    ``budget``: seconds after which no further pair is begun. ``cooldown``: seconds to wait until a device is fit.
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
        accepted = {unit.device for unit in plan.units if unit.emulated and not plan.calibrate}
        refuse_emulated(device for name, device in devices.items() if name not in accepted)
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
        self._folder = folder
        self._copies: dict[str, Path] = {}

    def run(self) -> NightlyResult:
        """Measure what is missing, and judge. A unit that could not be measured is inconclusive, with the cause."""
        with self._measuring():
            measured = {unit.name: self._measure(unit) for unit in self.plan.units}
        emulated = {unit.name for unit in self.plan.units if unit.emulated}
        cells = {(name, metric): found for name, of in measured.items() for metric, found in of.items()}
        real = {key: of for key, of in cells.items() if key[0] not in emulated}
        verdicts = judge_cells(real, self.plan.rule) if real else {}
        verdicts |= {key: _unjudged(of) for key, of in cells.items() if key[0] in emulated}
        results, sized = [], set[tuple[str, str, str]]()
        for unit in self.plan.units:
            judged = {metric: verdicts[unit.name, metric] for metric in measured[unit.name]}
            # Models in one binary share its sizes; only the first that ran reports them.
            binaries = (unit.device, unit.a.sha256, unit.b.sha256)
            limits = judge_limits(unit, self._journal, sizes=binaries not in sized)
            sized |= {binaries} if any(limit.growth is not None for limit in limits) else set()
            results.append(UnitResult(unit, judged, self._shares(unit), limits))
        return NightlyResult(self.plan, tuple(results))

    def calibrate(self) -> dict[str, dict[str, Floor]]:
        """Return the floors of each unit's metrics, from ``plan.calibrate`` sessions of its pairs.
        A unit without a finished session has none.
        """
        sessions: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
        with self._measuring():
            for unit in self.plan.units:
                for attempt in range(self.plan.calibrate):
                    if self._session(unit, "first", attempt) is None:
                        for metric, ratios in self._ratios(unit, "first", attempt).items():
                            sessions[unit.name][metric].append(ratios)
        rng = np.random.default_rng(SEED)
        return {
            name: {metric: calibrate(tables, rng) for metric, tables in of.items()} for name, of in sessions.items()
        }

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Hold copies of all runners, written at the same time, and close the journal at the end.

        How a program's file came to be written changes how its pages are mapped, and so its speed (docs/measuring.md).
        Two sides of one hash share one copy. Raises StorageFull or StorageUnwritable.
        """
        try:
            with writing(self._folder):
                copies = Path(tempfile.mkdtemp(prefix="runners-", dir=self._folder))
            try:
                for side in (side for unit in self.plan.units for side in (unit.a, unit.b)):
                    path = copies / side.sha256 / side.path.name
                    with writing(path):
                        path.parent.mkdir(exist_ok=True)
                        self._copies[side.sha256] = Path(shutil.copy2(side.path, path))
                yield
            finally:
                shutil.rmtree(copies, ignore_errors=True)
        finally:
            self._journal.close()

    def _measure(self, unit: UnitPlan) -> dict[str, CellSessions]:
        """Measure every metric of a unit.
        If a metric is suspect, the whole session is measured again. The second session counts only for suspect metrics.
        """
        first = self._stage(unit, "first")
        if isinstance(first, Undecided):
            return {LATENCY: CellSessions(first)}
        suspects = {metric for metric, found in first.items() if is_suspect(found) and not unit.emulated}
        again = self._stage(unit, "confirmation") if suspects else None
        return {
            metric: CellSessions(found, _of(again, metric) if again is not None and metric in suspects else None)
            for metric, found in first.items()
        }

    def _stage(self, unit: UnitPlan, stage: Stage) -> _Measured:
        """Return the attempt that decided about the latency; only the latency decides whether another is needed."""
        attempts: list[_Measured] = []
        while needs_another([_of(attempt, LATENCY) for attempt in attempts], self.plan.rule):
            at = len(attempts)
            cause = self._session(unit, stage, at)
            attempts.append(self._judged(unit, stage, at) if cause is None else Undecided(cause))
            if unit.emulated or (cause is not None and unit.name in self._journal.broken):
                break
        whole = [_of(attempt, LATENCY) for attempt in attempts]
        return attempts[next(at for at, one in enumerate(whole) if one is deciding(whole))]

    def _judged(self, unit: UnitPlan, stage: Stage, attempt: int) -> dict[str, Judgement]:
        found, shares = {}, {LATENCY: 1.0, **self._shares(unit)}
        for metric, ratios in self._ratios(unit, stage, attempt).items():
            if metric in shares:
                # The seed is fixed: the same pairs must get the same verdict however often the nightly run is resumed.
                rng = np.random.default_rng([SEED, _STAGES.index(stage), attempt, METRICS.index(metric)])
                found[metric] = judge_session(
                    ratios, rng=rng, rule=self.plan.rule, floor=unit.floor_of(metric), share=shares[metric]
                )
        return found

    def _ratios(self, unit: UnitPlan, stage: Stage, attempt: int) -> dict[str, list[float]]:
        """Return the log ratios of every metric that all runs of the session have."""
        found = {metric: self._journal.ratios(unit.name, stage, attempt, metric) for metric in METRICS}
        return {metric: ratios for metric, ratios in found.items() if ratios}

    def _shares(self, unit: UnitPlan) -> dict[str, float]:
        """Return each part's share of the baseline's latency, as medians over the runs of the first attempt.
        Every later judgement of the nightly run uses the same shares.
        """
        found = [a.shares() for a, _ in self._journal.pairs(unit.name, "first", 0)] or [
            a.shares() for a, _ in self._journal.all_pairs(unit.name)
        ]
        metrics = set.intersection(*map(set, found)) if found else set()
        return {metric: float(np.median([one[metric] for one in found])) for metric in METRICS if metric in metrics}

    def _session(self, unit: UnitPlan, stage: Stage, attempt: int) -> str | None:
        """Measure a session's missing pairs; return the cause if that cannot be done."""
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
            # Nothing is written, because the nightly run continues here once it has more time.
            return "the time budget was used up"
        except DeviceError as error:
            return self._give_up(unit, stage, attempt, str(error).splitlines()[0])
        return None

    def _wanted(self, done: list[float]) -> int:
        # Only the whole decides: a part that takes 2 % of it may be very noisy.
        return pairs_wanted({LATENCY: done}, self.plan.rule)

    def _give_up(self, unit: UnitPlan, stage: Stage, attempt: int, cause: str) -> str:
        self._journal.append(GivenUpLine(unit=unit.name, stage=stage, attempt=attempt, cause=cause))
        return cause

    def _pair(self, unit: UnitPlan, stage: Stage, attempt: int, pair: int) -> str | None:
        """Measure both runs of a pair; return the cause if one of them never came to its end.
        Their order alternates from pair to pair.
        """
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
        """Run one side in a fresh process; return the reason if the result is incomplete."""
        device, planned = self._devices[unit.device], unit.a if side == "a" else unit.b
        order = planned.order.model_copy(
            update={
                "order_id": f"{stage}-{attempt}-{pair}-{side}-{secrets.token_hex(4)}",
                "warmup": 1 if unit.emulated else self.plan.warmup,
                "repetitions": 2 if unit.emulated else self.plan.repetitions,
                # Every sample contains token ids. Only a probe contains tensors, and margins, which excuse a tie.
                "probe": RecordOptions(margins=True) if pair == 0 else None,
            }
        )
        started, conditions = now(), device.conditions()
        result = device.run(self._copies[planned.sha256], order, deadline=self._deadline)
        if not result.complete:
            return result.reason or "incomplete"
        self._journal.append(_line(result, unit.name, stage, attempt, pair, side, started, conditions))
        return None


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
    passes: list[Pass] = []
    outputs: dict[str, list[Output]] = defaultdict(list)
    answers: dict[str, Tensors] = {}
    digests: dict[str, list[str]] = defaultdict(list)
    for record in result.records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED:
            parts = {part: (sum(calls), len(calls)) for part, calls in record.parts.items()}
            passes.append(Pass(" ".join(record.items), record.total_ns, parts))
        # A tensor workload has answers and their hashes instead of outputs.
        if isinstance(record, Sample | Probe) and pair == 0 and record.outputs:
            for item, output in zip(record.items, record.outputs, strict=True):
                if output not in outputs[item]:
                    outputs[item].append(output)
        if isinstance(record, Sample) and record.output_sha256 is not None and pair == 0:
            (item,) = record.items
            if record.output_sha256 not in digests[item]:
                digests[item].append(record.output_sha256)
        if isinstance(record, Probe) and record.tensors is not None:
            answers[record.items[0]] = record.tensors
    figures = run_figures(passes)
    return RunLine(
        unit=unit,
        stage=stage,
        attempt=attempt,
        pair=pair,
        side=side,
        started=started,
        figure=figures[LATENCY],
        figures=figures,
        samples=[(one.item, one.total_ns) for one in passes],
        parts=[dict(one.parts) for one in passes],
        peak_bytes=next((r.peak_bytes for r in result.records if isinstance(r, Memory)), None),
        outputs=outputs,
        answers=answers,
        digests=digests,
        conditions=conditions,
        observed=result.observed,
        knobs=list(result.knobs),
    )


def _of(measured: _Measured, metric: str) -> Session:
    if isinstance(measured, Undecided):
        return measured
    return measured.get(metric) or Undecided(f"its {metric} was not measured")
