"""The document of ``harness runs``, whose lines other documents have, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Number, Part
from harness.protocol.schema import Kind
from harness.results import (
    Manifest,
    Run,
    RunDamaged,
    RunStatus,
    RunVerdict,
    Summary,
    WorkloadFacts,
    WorkloadSummary,
)
from harness.results.schema import RatioSummary
from harness.validate import Verdict

"""``generation``: words in, text out, token by token. ``tensor``: one call, tensors in and out."""
EMULATED = "an emulator's times are compared with nothing"
NOT_TIMED, UNLIKE = "not timed", "its items are unlike each other"


class DeviceLine(Part):
    name: str
    kind: str | None
    cpu_model: str | None
    emulated: bool


class Ratio(Part):
    """The artifact's time over PyTorch's on the same items; above 1 the artifact is slower."""

    ratio: Number
    """The geometric mean of the items' ratios; null where the interval is too wide for a number."""
    low: Number
    high: Number
    """95 % interval; null where there are too few items or rounds for one."""
    conclusive: bool
    """Whether the interval is narrow enough."""
    together: bool
    """Whether both sides were timed alternately, in one session. Times taken apart may be wrong by a multiple."""
    busy: str | None
    """What else the machine did meanwhile; null where it was quiet."""
    items: int
    """How many were timed on both sides."""
    rounds: int | None
    artifact_ns: Number
    pytorch_ns: Number
    """Geometric means over these items of their medians; null for times taken apart."""


class ModelLine(Part):
    """One model of a run in the list of runs."""

    name: str
    kind: Kind
    source: str
    """The checkpoint, or what ``--models`` named."""
    items: int
    """What it was asked: words, or items of a tensor workload."""
    items_of: int | None
    """How many there were, where only a sample of them was run, as on an emulator."""
    compared: int
    """Comparisons with PyTorch, several for each item."""
    equal: int
    """Those that agree, ties included."""
    median_ns: Number
    """Of one word of a generation workload, of one call of a tensor workload with a single item; never pooled over
    different items."""
    ratio: Ratio | None
    no_median: str | None
    """Why there is no ``median_ns``."""
    no_ratio: str | None
    """Why there is no ``ratio``."""


class RunLine(Part):
    """A run in the list of runs. A damaged run has its id and ``damage`` only."""

    run: str
    status: Literal["complete", "incomplete", "failed", "damaged"]
    reason: str | None = None
    """Why it is not complete."""
    damage: str | None = None
    """What of it cannot be read."""
    verdict: RunVerdict | None = None
    started: str | None = None
    ended: str | None = None
    device: DeviceLine | None = None
    precision: str | None = None
    models: Sequence[ModelLine] = ()
    baseline: str | None = None
    """The baseline that it was compared with, if any."""


class RunsDocument(Document):
    """`harness runs`: the stored runs, the latest first."""

    schema_name: Literal["harness.runs/1"] = Field(default="harness.runs/1", alias="schema")
    results_dir: str
    stored: int
    """How many runs there are, listed or not."""
    runs: list[RunLine]


def run_line(run: Run) -> RunLine:
    """Return the line of a stored run, damaged ones included."""
    try:
        return line_of(run.manifest(), run.summary())
    except RunDamaged as error:
        return RunLine(run=run.run_id, status="damaged", damage=error.args[0])


def line_of(manifest: Manifest, summary: Summary | None) -> RunLine:
    """Return the line of a run that can be read; ``summary`` is None for one that did not get to it."""
    complete = manifest.status is RunStatus.COMPLETE
    precision = manifest.options.get("precision")
    return RunLine(
        run=manifest.run_id,
        status=manifest.status.value,
        reason=None if complete else manifest.reason,
        verdict=summary.verdict if summary else RunVerdict.INCONCLUSIVE,
        started=manifest.started,
        ended=manifest.ended,
        device=_device(manifest),
        precision=str(precision) if precision else None,
        models=model_lines(manifest, summary),
        baseline=manifest.gate.baseline if manifest.gate else None,
    )


def runs_document(place: str, runs: list[Run], limit: int) -> RunsDocument:
    """Return the latest ``limit`` of ``runs``, which are the oldest first; 0 stands for all.

    ``place`` is where they are: a folder, or a store's address.
    """
    shown = [run_line(run) for run in reversed(runs[-limit:])]
    return RunsDocument(results_dir=place, stored=len(runs), runs=shown)


def model_lines(manifest: Manifest, summary: Summary | None) -> list[ModelLine]:
    """Return a line for each workload of a run, in the manifest's order."""
    known = summary.workloads if summary else {}
    return [
        _model_line(manifest, name, facts, known.get(name) or WorkloadSummary(kind=facts.kind))
        for name, facts in manifest.workloads.items()
    ]


def _device(manifest: Manifest) -> DeviceLine | None:
    known = manifest.device
    if not known:
        return None
    kind, cpu = known.get("kind"), known.get("cpu_model")
    return DeviceLine(
        name=str(known.get("name", "?")),
        kind=str(kind) if kind else None,
        cpu_model=str(cpu) if cpu else None,
        emulated=manifest.emulated,
    )


def _model_line(manifest: Manifest, name: str, facts: WorkloadFacts, found: WorkloadSummary) -> ModelLine:
    medians = [found.warm.median] if found.warm else [item.median for item in found.by_item.values()]
    ratio = ratio_of(found.ratio)
    return ModelLine(
        name=name,
        kind=facts.kind,
        source=facts.label if facts.way.labelled else facts.source,
        items=facts.items,
        items_of=facts.items_of,
        compared=found.compared,
        equal=found.count(Verdict.EQUAL) + found.count(Verdict.TIE),
        median_ns=medians[0] if len(medians) == 1 else None,
        ratio=ratio,
        no_median=None if len(medians) == 1 else UNLIKE if medians else NOT_TIMED,
        no_ratio=None if ratio else _no_ratio(manifest, bool(medians)),
    )


def _no_ratio(manifest: Manifest, timed: bool) -> str:
    return NOT_TIMED if not timed else EMULATED if manifest.emulated else "PyTorch was not timed"


def ratio_of(found: RatioSummary | None) -> Ratio | None:
    """Return a ratio to PyTorch with all that makes it doubtful."""
    if found is None:
        return None
    return Ratio(
        ratio=found.ratio if found.conclusive else None,
        low=found.low,
        high=found.high,
        conclusive=found.conclusive,
        together=found.paired,
        busy=found.busy,
        items=found.items,
        rounds=found.rounds,
        artifact_ns=found.artifact,
        pytorch_ns=found.pytorch,
    )
