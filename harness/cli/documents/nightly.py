"""Documents about nightly runs and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Number, Part
from harness.results import RunDamaged
from harness.results.baselines import Baseline, BaselineDamaged, Baselines
from harness.results.nightly import DriftFacts, NightlyRecord, UnitFacts, read_nightly
from harness.results.schema import Git


class NightlyLine(Part):
    """A nightly run in the list. A damaged one has its id and ``damage`` only."""

    night: str
    state: str
    """The verdict, ``calibration``, ``not ended``, or ``damaged``."""
    damage: str | None = None
    started: str | None = None
    baseline: str | None = None
    candidate: str | None = None
    """The baseline that is B; null for a run or the sources."""
    run: str | None = None
    """The run that asked for it."""
    slowed_percent: Number = None
    """By how much a side was slowed on purpose, to test the gate itself."""
    units: Sequence[UnitFacts] = ()
    """What was judged. Changes are fractions: 0.05 is 5 % slower."""


class NightlyRunsDocument(Document):
    """`harness nights`: the nightly runs, the latest first."""

    schema_name: Literal["harness.nights/1"] = Field(default="harness.nights/1", alias="schema")
    results_dir: str
    stored: int
    nights: list[NightlyLine]


class NightlyDocument(Document):
    """`harness nightly` and `harness nights NIGHTLY`: one nightly run and its verdicts."""

    schema_name: Literal["harness.night/1"] = Field(default="harness.night/1", alias="schema")
    night: NightlyLine
    drifts: list[DriftFacts]
    """Changes to a worse level over several nightly runs."""


class FloorLine(Part):
    """How far sessions of the baseline against itself spread."""

    unit: str
    metric: str
    change: Number
    """As a fraction: 99 of 100 sessions stay within it."""
    noise: Number
    """Of one process, as a fraction."""
    sessions: int
    pairs: int


class CalibrationDocument(Document):
    """`harness nightly --calibrate`: the floors that were measured; units without any are in ``unmeasured``."""

    schema_name: Literal["harness.calibration/1"] = Field(default="harness.calibration/1", alias="schema")
    night: str
    floors: list[FloorLine]
    unmeasured: list[str]


class BaselineLine(Part):
    """A baseline in the list. A damaged one has its name and ``damage`` only."""

    name: str
    damage: str | None = None
    run: str | None = None
    created: str | None = None
    git: Git | None = None
    device: str | None = None
    checkpoint: str | None = None
    variants: Sequence[str] = ()
    """Kept variants of a generation workload."""
    models: Sequence[str] = ()
    """Kept tensor workloads."""
    bytes: int | None = None
    """Of the kept files, each counted once."""


class BaselinesDocument(Document):
    """`harness baseline list`."""

    schema_name: Literal["harness.baselines/1"] = Field(default="harness.baselines/1", alias="schema")
    results_dir: str
    baselines: list[BaselineLine]


class KeptFiles(Part):
    """The baseline's facts about a variant or model."""

    name: str
    runner_sha256: str
    runner_bytes: int
    archive_sha256: str
    archive_bytes: int
    target: str


class BaselineDocument(Document):
    """`harness baseline show` and `harness baseline set`: one baseline, whose files were checked."""

    schema_name: Literal["harness.baseline/1"] = Field(default="harness.baseline/1", alias="schema")
    baseline: BaselineLine
    kept: list[KeptFiles]


def nightly_line(record: NightlyRecord) -> NightlyLine:
    """Return the line of a nightly run that could be read."""
    return NightlyLine(
        night=record.night_id,
        state=record.state,
        started=record.plan.started,
        baseline=record.plan.baseline,
        candidate=record.plan.candidate,
        run=record.plan.run,
        slowed_percent=record.slowed,
        units=record.verdicts.units if record.verdicts else [],
    )


def nightly_runs_document(place: str, folders: list[Path], limit: int) -> NightlyRunsDocument:
    """Return the latest ``limit`` of the nightly runs' folders, which are the oldest first; 0 stands for all."""
    lines = [_nightly_in(folder) for folder in reversed(folders[-limit:])]
    return NightlyRunsDocument(results_dir=place, stored=len(folders), nights=lines)


def _nightly_in(folder: Path) -> NightlyLine:
    try:
        return nightly_line(read_nightly(folder))
    except RunDamaged as error:
        return NightlyLine(night=folder.name, state="damaged", damage=error.args[0])


def nightly_document(record: NightlyRecord) -> NightlyDocument:
    return NightlyDocument(night=nightly_line(record), drifts=record.verdicts.drifts if record.verdicts else [])


def baselines_document(results: Path, place: str) -> BaselinesDocument:
    """Return all baselines, damaged ones included."""
    baselines = Baselines(results)
    lines = [_named(baselines, name) for name in baselines.names()]
    return BaselinesDocument(results_dir=place, baselines=lines)


def _named(baselines: Baselines, name: str) -> BaselineLine:
    try:
        return _line(baselines.get(name))
    except BaselineDamaged as error:
        return BaselineLine(name=name, damage=error.args[0])


def baseline_document(baseline: Baseline) -> BaselineDocument:
    kept = [
        KeptFiles(
            name=name,
            runner_sha256=facts.runner_sha256,
            runner_bytes=facts.runner_bytes,
            archive_sha256=facts.archive_sha256,
            archive_bytes=facts.archive_bytes,
            target=facts.target,
        )
        for name, facts in baseline.timed.items()
    ]
    return BaselineDocument(baseline=_line(baseline), kept=kept)


def _line(baseline: Baseline) -> BaselineLine:
    manifest = baseline.manifest
    sizes = {facts.runner_sha256: facts.runner_bytes + facts.archive_bytes for facts in baseline.timed.values()}
    device = manifest.device.get("name")
    kept_of = baseline.by_workload
    generations = {name: facts for name, facts in manifest.alike.items() if name in kept_of}
    return BaselineLine(
        name=baseline.name,
        run=manifest.run_id,
        created=baseline.created,
        git=manifest.git,
        device=str(device) if device else None,
        checkpoint=", ".join(facts.label for facts in generations.values()) or None,
        variants=[name for name, kept in baseline.timed.items() if kept.workload in generations],
        models=[name for name, kept in baseline.timed.items() if kept.workload not in generations],
        bytes=sum(sizes.values()),
    )
