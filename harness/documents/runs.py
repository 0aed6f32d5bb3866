"""Documents about stored runs: the list of ``harness runs``, and one run as ``harness show`` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.documents.base import Document, Facts, Number, Part
from harness.models.sources import G2P
from harness.results import Manifest, Run, RunDamaged, RunStatus, RunVerdict, Summary
from harness.results.schema import (
    GateFacts,
    Git,
    ItemLatency,
    ItemRatio,
    LatencySummary,
    OrderEntry,
    RatioSummary,
    VariantFacts,
)
from harness.validate import Verdict

Kind = Literal["generation", "tensor"]
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
    """Whether both sides were timed in turns, in one sitting. Times taken apart may be wrong by a multiple."""
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
    """What it was asked: words, or items of a tensor model."""
    items_of: int | None
    """How many there were, where only a sample of them was run, as on an emulator."""
    compared: int
    """Comparisons with PyTorch, several for each item."""
    equal: int
    """Those that agree, ties included."""
    median_ns: Number
    """Of one word of a generation model, of one call of a tensor model with a single item; never pooled over unlike
    items."""
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
    """The baseline that it was judged beside, if any."""


class RunsDocument(Document):
    """`harness runs`: the stored runs, the latest first."""

    schema_name: Literal["harness.runs/1"] = Field(default="harness.runs/1", alias="schema")
    results_dir: str
    stored: int
    """How many runs there are, listed or not."""
    runs: list[RunLine]


class Latency(Part):
    """Warm samples of one side."""

    items: int
    samples: int
    median_ns: Number
    median_low_ns: Number
    median_high_ns: Number
    """Bootstrap 95 % interval of the median over items."""
    p90_ns: Number
    p95_ns: Number
    p99_ns: Number
    mad_ns: Number
    min_ns: Number
    max_ns: Number
    mean_ns: Number


class Comparison(Part):
    """The answers of one variant beside PyTorch's."""

    comparison: str
    compared: int
    verdicts: dict[str, int]
    """How many of each verdict."""
    failures: list[str]
    max_margin_error: Number
    """Generation models: the largest difference of the two sides' logit margins."""
    max_error: Number
    relative_error: Number
    """Tensor models: the largest difference of any output, and its share of that output's largest magnitude."""


class Accuracy(Part):
    """Against gold pronunciations; ``side`` is ``pytorch`` or a comparison, ``language`` may be ``all``."""

    side: str
    language: str
    items: int
    per: Number
    wer: Number


class ItemFigures(Part):
    """One item: its warm samples, and its time beside PyTorch's in the turns that both sides took."""

    item: str
    samples: int | None
    median_ns: Number
    mad_ns: Number
    min_ns: Number
    max_ns: Number
    """Of a tensor model; the words of a generation model are summed up in ``artifact``."""
    artifact_ns: Number
    pytorch_ns: Number
    """Medians over the rounds; null for an item that was not in the sample."""
    ratio: Number
    low: Number
    high: Number
    conclusive: bool | None


class ModelFigures(Part):
    """All figures of one model."""

    name: str
    kind: Kind
    comparisons: list[Comparison]
    accuracy: list[Accuracy]
    variant: str | None
    """The timed variant of a generation model."""
    artifact: Latency | None
    """Over all timed words of a generation model; null for a tensor model, whose items are unlike each other."""
    pytorch: Latency | None
    """Over the words of a generation model that PyTorch was timed on."""
    ratio: Ratio | None
    items: list[ItemFigures]
    cold_load_ns: Number
    """Taking the model from the library and initialising its virtual machine."""
    first_ns: Number
    """The first inference of the process."""
    parts_ns: dict[str, Number]
    """Medians for each word: encoder, prefill, steps, other; empty for a tensor model."""
    peak_bytes: int | None


class RunDocument(Document):
    """`harness show`: one run with all its figures."""

    schema_name: Literal["harness.run/1"] = Field(default="harness.run/1", alias="schema")
    run: RunLine
    reasons: list[str]
    """Why the verdict is no pass."""
    figures: list[ModelFigures]
    gate: GateFacts | None
    git: Git | None
    command: list[str]
    options: Facts
    versions: dict[str, str]
    device: Facts
    """All that is known of the device."""
    variants: dict[str, VariantFacts]
    orders: list[OrderEntry]


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


def runs_document(root: Path, runs: list[Run], limit: int) -> RunsDocument:
    """Return the latest ``limit`` of ``runs``, which are the oldest first; 0 stands for all."""
    shown = [run_line(run) for run in reversed(runs[-limit:])]
    return RunsDocument(results_dir=str(root), stored=len(runs), runs=shown)


def run_document(manifest: Manifest, summary: Summary) -> RunDocument:
    """Return one run with its figures."""
    return RunDocument(
        run=line_of(manifest, summary),
        reasons=summary.reasons,
        figures=_figures(manifest, summary),
        gate=manifest.gate,
        git=manifest.git,
        command=manifest.command,
        options=manifest.options,
        versions=manifest.versions,
        device=manifest.device,
        variants=manifest.variants,
        orders=manifest.orders,
    )


def model_lines(manifest: Manifest, summary: Summary | None) -> list[ModelLine]:
    """Return a line for each model of a run, the generation model first."""
    return [*_generation_lines(manifest, summary), *_tensor_lines(manifest, summary)]


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


def _generation_lines(manifest: Manifest, summary: Summary | None) -> list[ModelLine]:
    if manifest.checkpoint is None and manifest.words is None:
        return []
    parity = list(summary.parity.values()) if summary else []
    median = summary.artifact.warm.median if summary and summary.artifact else None
    ratio = _ratio(summary.ratio) if summary else None
    return [
        ModelLine(
            name=G2P,
            kind="generation",
            source=manifest.checkpoint.label if manifest.checkpoint else "?",
            items=manifest.words.count if manifest.words else 0,
            items_of=manifest.words.of if manifest.words else None,
            compared=sum(found.words for found in parity),
            equal=sum(_agreeing(found.by_verdict) for found in parity),
            median_ns=median,
            ratio=ratio,
            no_median=None if median is not None else NOT_TIMED,
            no_ratio=None if ratio else _no_ratio(manifest, median is not None),
        )
    ]


def _tensor_lines(manifest: Manifest, summary: Summary | None) -> list[ModelLine]:
    lines = []
    for name, facts in manifest.models.items():
        found = summary.models.get(name) if summary else None
        medians = [item.median for item in found.by_item.values()] if found else []
        timed = bool(medians) or (found is not None and found.artifact is not None)
        ratio = _ratio(found.ratio) if found else None
        lines.append(
            ModelLine(
                name=name,
                kind="tensor",
                source=facts.source,
                items=facts.items,
                items_of=None,
                compared=found.items if found else 0,
                equal=_agreeing(found.by_verdict) if found else 0,
                median_ns=medians[0] if len(medians) == 1 else None,
                ratio=ratio,
                no_median=None if len(medians) == 1 else UNLIKE if timed else NOT_TIMED,
                no_ratio=None if ratio else _no_ratio(manifest, timed),
            )
        )
    return lines


def _no_ratio(manifest: Manifest, timed: bool) -> str:
    return NOT_TIMED if not timed else EMULATED if manifest.emulated else "PyTorch was not timed"


def _agreeing(verdicts: Mapping[Verdict, int]) -> int:
    return verdicts.get(Verdict.EQUAL, 0) + verdicts.get(Verdict.TIE, 0)


def _ratio(found: RatioSummary | None) -> Ratio | None:
    if found is None:
        return None
    return Ratio(
        ratio=found.ratio if found.conclusive else None,
        low=found.low,
        high=found.high,
        conclusive=found.conclusive,
        together=found.paired,
        busy=found.busy,
        items=found.words,
        rounds=found.rounds,
        artifact_ns=found.artifact,
        pytorch_ns=found.pytorch,
    )


def _items(by_item: Mapping[str, ItemLatency], found: RatioSummary | None) -> list[ItemFigures]:
    """The items that have figures of their own, on one side or both."""
    both = found.by_item if found else {}
    return [
        _item(name, by_item.get(name), both.get(name)) for name in [*by_item, *(n for n in both if n not in by_item)]
    ]


def _item(name: str, ours: ItemLatency | None, both: ItemRatio | None) -> ItemFigures:
    return ItemFigures(
        item=name,
        samples=ours.samples if ours else None,
        median_ns=ours.median if ours else None,
        mad_ns=ours.mad if ours else None,
        min_ns=ours.min if ours else None,
        max_ns=ours.max if ours else None,
        artifact_ns=both.artifact if both else None,
        pytorch_ns=both.pytorch if both else None,
        ratio=both.ratio if both and both.conclusive else None,
        low=both.low if both else None,
        high=both.high if both else None,
        conclusive=both.conclusive if both else None,
    )


_TIMES = ("median", "median_low", "median_high", "p90", "p95", "p99", "mad", "min", "max", "mean")


def _latency(side: LatencySummary | None) -> Latency | None:
    if side is None:
        return None
    times = {f"{key}_ns": getattr(side, key) for key in _TIMES}
    return Latency.model_validate({"items": side.words, "samples": side.samples, **times})


def _figures(manifest: Manifest, summary: Summary) -> list[ModelFigures]:
    return [*_generation_figures(manifest, summary), *_tensor_figures(summary)]


def _generation_figures(manifest: Manifest, summary: Summary) -> list[ModelFigures]:
    if not _generation_lines(manifest, summary):
        return []
    artifact = summary.artifact
    parts = {key: getattr(artifact, key) for key in ("encoder", "prefill", "steps", "other")} if artifact else {}
    return [
        ModelFigures(
            name=G2P,
            kind="generation",
            comparisons=[
                Comparison(
                    comparison=name,
                    compared=found.words,
                    verdicts={verdict.value: count for verdict, count in found.by_verdict.items()},
                    failures=found.failures,
                    max_margin_error=found.max_margin_error,
                    max_error=None,
                    relative_error=None,
                )
                for name, found in summary.parity.items()
            ],
            accuracy=[
                Accuracy(side=side, language=language, items=found.words, per=found.per, wer=found.wer)
                for side, languages in summary.accuracy.items()
                for language, found in languages.items()
            ],
            variant=artifact.variant if artifact else None,
            artifact=_latency(artifact.warm if artifact else None),
            pytorch=_latency(summary.pytorch),
            ratio=_ratio(summary.ratio),
            items=_items({}, summary.ratio),
            cold_load_ns=artifact.cold_load if artifact else None,
            first_ns=artifact.first if artifact else None,
            parts_ns=parts,
            peak_bytes=artifact.peak_bytes if artifact else None,
        )
    ]


def _tensor_figures(summary: Summary) -> list[ModelFigures]:
    return [
        ModelFigures(
            name=name,
            kind="tensor",
            comparisons=[
                Comparison(
                    comparison=name,
                    compared=found.items,
                    verdicts={verdict.value: count for verdict, count in found.by_verdict.items()},
                    failures=found.failures,
                    max_margin_error=None,
                    max_error=found.max_error,
                    relative_error=found.relative_error,
                )
            ],
            accuracy=[],
            variant=None,
            artifact=None,
            pytorch=None,
            ratio=_ratio(found.ratio),
            items=_items(found.by_item, found.ratio),
            cold_load_ns=found.cold_load,
            first_ns=found.first,
            parts_ns={},
            peak_bytes=found.peak_bytes,
        )
        for name, found in summary.models.items()
    ]
