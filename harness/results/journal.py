"""Keep a nightly run's state on disk: the plan, replaced as a whole, and a journal that only grows.

The journal's whole lines contain everything that was measured, and all else is computed from them again. So a killed
nightly run resumes where it stopped. A pair counts only if both of its runs are there. Half a pair is measured again
as a whole, because its two runs would no longer be side by side.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from harness.devices.base import Knob
from harness.measure import LATENCY, Floor, GateRule, Pair, Pass, shares
from harness.protocol.schema import Output, Tensors, WorkOrder
from harness.results import v1
from harness.results.errors import RunDamaged, writing
from harness.results.files import Appender, write_atomically
from harness.results.schema import Git
from harness.validate import EXACT, TolerancePolicy
from harness.validate.comparison import Comparison

PLAN, JOURNAL = "plan.json", "journal.jsonl"
Stage = Literal["first", "confirmation"]
Side = Literal["a", "b"]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SidePlan(_Kept):
    """Describe a runner and the order that times it."""

    path: Path
    sha256: str
    runner_bytes: int
    archive_bytes: int
    order: WorkOrder
    git: Git | None = None
    """The sources from which it was made."""


class UnitPlan(_Kept):
    """Describe what is measured in pairs of runs: a model on a device. ``name`` is unique in the plan."""

    name: str
    device: str
    model: str
    variant: str
    """The variant of G2P; for a tensor workload, its name again."""
    a: SidePlan
    b: SidePlan
    floor: Floor | None = None
    """The floor of the latency."""
    part_floors: dict[str, Floor] = {}
    policy: TolerancePolicy = EXACT
    comparison: Comparison | None = None
    """How the answers of a tensor workload are judged; None for G2P."""
    emulated: bool = False
    """Whether the device is emulated: its times are shown and never judged."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.nightly_unit(stored) if isinstance(stored, dict) else stored

    def floor_of(self, metric: str) -> Floor | None:
        """Return a metric's floor; a part without a floor of its own gets that of the whole."""
        return self.part_floors.get(metric, self.floor)


class Plan(_Kept):
    night_id: str
    started: str
    baseline: str
    candidate: str | None = None
    """The baseline that is B; None means the sources."""
    run: str | None = None
    """The run whose suites asked for it; None for a nightly run of its own."""
    units: list[UnitPlan]
    rule: GateRule = GateRule()
    warmup: int = 3
    repetitions: int = 20
    calibrate: int = 0
    """The number of sessions of A against A in a calibration; 0 for a nightly run with verdicts."""
    facts: dict[str, Any] = {}
    command: list[str] = []
    """The command that asked for it; empty if a run's suites did, and in plans of before this was kept."""


class RunLine(_Kept):
    """Record one run of one side. Times are nanoseconds; ``samples`` are [item, total] for every timed pass.

    Older journals have neither ``figures`` nor ``parts``.
    """

    line: Literal["run"] = "run"
    unit: str
    stage: Stage
    attempt: int
    pair: int
    side: Side
    started: str
    figure: float
    figures: dict[str, float] = {}
    """The run's figures by metric; ``figure`` is the latency's."""
    samples: list[tuple[str, int]]
    parts: list[dict[str, tuple[int, int]]] = []
    """For each sample, by part: the total time of all its calls, and their number."""
    peak_bytes: int | None = None
    outputs: dict[str, list[Output]] = {}
    """The distinct outputs by item; only in a session's first pair."""
    answers: dict[str, Tensors] = {}
    """The probe's whole outputs of a tensor workload, by item. ``digests`` are the distinct hashes of its passes."""
    digests: dict[str, list[str]] = {}
    conditions: dict[str, Any] = {}
    observed: dict[str, Any] = {}
    knobs: list[Knob] = []

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.nightly_run_line(stored) if isinstance(stored, dict) else stored

    def of_metric(self, metric: str) -> float | None:
        return self.figure if metric == LATENCY else self.figures.get(metric)

    def shares(self) -> dict[str, float]:
        """Return each part's share of the whole."""
        return shares(Pass(item, total, parts) for (item, total), parts in zip(self.samples, self.parts, strict=False))


class GivenUpLine(_Kept):
    """Record that a session could not be measured to its end, and why."""

    line: Literal["given up"] = "given up"
    unit: str
    stage: Stage
    attempt: int
    cause: str


class BrokenLine(_Kept):
    """Record that the candidate's runner failed repeatedly while the baseline's ran: the fault is the subject's."""

    line: Literal["broken"] = "broken"
    unit: str
    cause: str


Line = RunLine | GivenUpLine | BrokenLine
_LINE: TypeAdapter[Line] = TypeAdapter(Line)
_Session = tuple[str, Stage, int]


class Journal:
    """Hold the lines of one nightly run. They are read once and appended to."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Read the journal; with ``read_only`` the file is not changed, even if it is torn. Raises RunDamaged."""
        self.folder = folder
        self._read_only = read_only
        self._path = folder / JOURNAL
        self._runs: dict[_Session, dict[int, dict[Side, RunLine]]] = defaultdict(lambda: defaultdict(dict))
        self._given_up: dict[_Session, str] = {}
        self.broken: dict[str, str] = {}
        last: dict[str, Line] = {}
        for line in self._read():
            self._take(line)
            last[line.unit] = line
        for line in last.values():
            # The last cause of giving up may be over, so a resumed nightly run tries that session again.
            if isinstance(line, GivenUpLine):
                del self._given_up[line.unit, line.stage, line.attempt]
        self._appender = Appender(self._path)

    def append(self, line: Line) -> None:
        """Append a line. Raises StorageFull or StorageUnwritable; the line is then not in the journal."""
        self._appender.append(line)
        self._appender.sync()
        self._take(line)

    def close(self) -> None:
        self._appender.close()

    def pairs(self, unit: str, stage: Stage, attempt: int) -> list[tuple[RunLine, RunLine]]:
        """Return the whole pairs of a session, in their order."""
        found = self._runs.get((unit, stage, attempt), {})
        return [(sides["a"], sides["b"]) for _, sides in sorted(found.items()) if len(sides) == 2]

    def ratios(self, unit: str, stage: Stage, attempt: int, metric: str = LATENCY) -> list[float]:
        """Return the logarithms of the ratios; none if not all runs of the session have the metric."""
        found = [(a.of_metric(metric), b.of_metric(metric)) for a, b in self.pairs(unit, stage, attempt)]
        ratios = [Pair(a, b).log_ratio for a, b in found if a is not None and b is not None]
        return ratios if len(ratios) == len(found) else []

    def sessions(self, unit: str) -> list[tuple[Stage, int]]:
        """Return stage and attempt of each session that has measurements."""
        return [(stage, attempt) for of, stage, attempt in self._runs if of == unit]

    def given_up(self, unit: str, stage: Stage, attempt: int) -> str | None:
        return self._given_up.get((unit, stage, attempt))

    def all_pairs(self, unit: str) -> list[tuple[RunLine, RunLine]]:
        return [pair for session in self.sessions(unit) for pair in self.pairs(unit, *session)]

    def _take(self, line: Line) -> None:
        if isinstance(line, RunLine):
            sides = self._runs[line.unit, line.stage, line.attempt][line.pair]
            if line.side in sides or not math.isfinite(line.figure):
                # This is half a pair from before an interruption; it is measured again as a whole.
                sides.clear()
            sides[line.side] = line
        elif isinstance(line, GivenUpLine):
            self._given_up[line.unit, line.stage, line.attempt] = line.cause
        else:
            self.broken[line.unit] = line.cause

    def begin_pair(self, unit: str, stage: Stage, attempt: int, pair: int) -> None:
        """Forget half a pair that was interrupted."""
        self._runs[unit, stage, attempt][pair].clear()

    def _read(self) -> list[Line]:
        """Return the whole lines. A torn last line is cut off, so that the next line is not joined to it."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        if whole < len(data) and not self._read_only:
            with writing(self._path), self._path.open("r+b") as file:
                file.truncate(whole)
        try:
            return [_LINE.validate_json(line) for line in data[:whole].splitlines()]
        except ValidationError as error:
            raise RunDamaged(f"{self._path}: {error.errors()[0]['msg']}") from error


def read_journal(folder: Path) -> Journal:
    """Return the journal of a nightly run, which may not have ended; raises RunDamaged."""
    return Journal(folder, read_only=True)


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a nightly run's plan. Raises StorageFull or StorageUnwritable."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PLAN, plan)


def read_plan(folder: Path) -> Plan:
    """Return a nightly run's plan. Raises RunDamaged."""
    try:
        return Plan.model_validate_json((folder / PLAN).read_bytes())
    except (OSError, ValidationError) as error:
        raise RunDamaged(f"{folder / PLAN} cannot be read: {str(error).splitlines()[0]}") from error
