"""The document of one stored run, as ``harness show`` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Facts, Number, Part
from harness.cli.documents.runs import Ratio, RunLine, line_of, ratio_of
from harness.protocol.schema import Kind
from harness.results import Manifest, Summary, WorkloadSummary
from harness.results.schema import (
    GateFacts,
    Git,
    ItemLatency,
    ItemRatio,
    LatencySummary,
    OrderEntry,
    RatioSummary,
    VariantFacts,
    WideLayer,
)


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
    """The answers of one variant, compared with PyTorch's."""

    comparison: str
    compared: int
    verdicts: dict[str, int]
    """How many of each verdict."""
    failures: list[str]
    max_margin_error: Number
    """Generation workloads: the largest difference of the two sides' logit margins."""
    max_error: Number
    relative_error: Number
    """Tensor workloads: the largest difference of any output, and its share of that output's largest magnitude."""
    tokens: int | None
    tokens_equal: int | None
    """Language models that were fed with PyTorch's tokens: steps, and those at which both sides choose the same."""
    perplexity: Number
    expected_perplexity: Number
    """Of PyTorch's tokens, for the runner's model and for PyTorch's."""
    kl: Number
    """The mean divergence KL(PyTorch || ours) of the next token's distributions over these steps, in nats."""


class Accuracy(Part):
    """Against gold pronunciations; ``side`` is ``pytorch`` or a comparison, ``language`` may be ``all``."""

    side: str
    language: str
    items: int
    per: Number
    wer: Number


class ItemFigures(Part):
    """One item: its warm samples, and its time and PyTorch's in the interleaved rounds."""

    item: str
    samples: int | None
    median_ns: Number
    mad_ns: Number
    min_ns: Number
    max_ns: Number
    """Of a tensor workload; the words of a generation workload are summed up in ``artifact``."""
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
    """The timed variant of a generation workload."""
    artifact: Latency | None
    """Over all timed words of a generation workload; null for a tensor workload, whose items are unlike each other."""
    pytorch: Latency | None
    """Over the words of a generation workload that PyTorch was timed on."""
    ratio: Ratio | None
    items: list[ItemFigures]
    cold_load_ns: Number
    """Taking the model from the library and initialising its virtual machine."""
    first_ns: Number
    """The first inference of the process."""
    parts_ns: dict[str, Number]
    """Medians for each word: encoder, prefill, steps, other; empty for a tensor workload."""
    peak_bytes: int | None


class RunDocument(Document):
    """`harness show`: one run with all its figures."""

    schema_name: Literal["harness.run/2"] = Field(default="harness.run/2", alias="schema")
    run: RunLine
    reasons: list[str]
    """Why the verdict is no pass."""
    keep_wide: list[WideLayer]
    """The layers that cost a workload of fewer bits most where it fails, the worst first: give each to --keep-wide."""
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


def run_document(manifest: Manifest, summary: Summary) -> RunDocument:
    """Return one run with its figures."""
    return RunDocument(
        run=line_of(manifest, summary),
        reasons=summary.reasons,
        keep_wide=summary.keep_wide,
        figures=_figures(summary),
        gate=manifest.gate,
        git=manifest.git,
        command=manifest.command,
        options=manifest.options,
        versions=manifest.versions,
        device=manifest.device,
        variants=manifest.variants,
        orders=manifest.orders,
    )


def _items(by_item: Mapping[str, ItemLatency], found: RatioSummary | None) -> list[ItemFigures]:
    """Return the items that have figures of their own, on one side or both."""
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
    return Latency.model_validate({"items": side.items, "samples": side.samples, **times})


def _figures(summary: Summary) -> list[ModelFigures]:
    return [_model_figures(name, found) for name, found in summary.workloads.items()]


def _model_figures(name: str, found: WorkloadSummary) -> ModelFigures:
    return ModelFigures(
        name=name,
        kind=found.kind,
        comparisons=[
            Comparison(
                comparison=comparison,
                compared=one.items,
                verdicts={verdict.value: count for verdict, count in one.by_verdict.items()},
                failures=one.failures,
                max_margin_error=one.max_margin_error,
                max_error=one.max_error,
                relative_error=one.relative_error,
                tokens=one.tokens,
                tokens_equal=one.tokens_equal,
                perplexity=one.perplexity,
                expected_perplexity=one.expected_perplexity,
                kl=one.kl,
            )
            for comparison, one in found.parity.items()
        ],
        accuracy=[
            Accuracy(side=side, language=subset, items=one.items, per=one.per, wer=one.wer)
            for side, subsets in found.accuracy.items()
            for subset, one in subsets.items()
        ],
        variant=found.variant or None,
        artifact=_latency(found.warm),
        pytorch=_latency(found.pytorch),
        ratio=ratio_of(found.ratio),
        items=_items(found.by_item, found.ratio),
        cold_load_ns=found.cold_load,
        first_ns=found.first,
        parts_ns=dict(found.parts),
        peak_bytes=found.peak_bytes,
    )
