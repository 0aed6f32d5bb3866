"""The document of ``harness compare``. It imports the statistics, which take a second to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.cli.documents.base import Document, Number, Part
from harness.cli.documents.runs import EMULATED, RunLine, line_of
from harness.protocol.schema import Kind
from harness.report.comparison import Side, compared, differing_facts, doubts, paired
from harness.report.tensor import items_change, shared_models
from harness.results.schema import ItemLatency


class Difference(Part):
    """A fact that the two runs do not share; null where a run does not have it."""

    what: str
    a: str | None
    b: str | None


class ApartRatio(Part):
    """B's time over A's on the items that both timed, in two sessions; above 1 B took longer."""

    ratio: float
    """Of words the median, of a tensor workload's items the geometric mean of each one's own ratio."""
    low: Number
    high: Number
    """95 % interval over items alone; how the sessions differ is not in it."""
    items: int


class ModelPair(Part):
    """One model that both runs have."""

    name: str
    kind: Kind
    a_median_ns: Number
    b_median_ns: Number
    ratio: ApartRatio | None
    no_ratio: str | None


class ComparisonDocument(Document):
    """`harness compare`: run B compared with run A."""

    schema_name: Literal["harness.comparison/1"] = Field(default="harness.comparison/1", alias="schema")
    a: RunLine
    b: RunLine
    measured_together: Literal[False] = False
    """Two stored runs never are: only `harness nightly` measures both sides in one session."""
    warnings: list[str]
    """Why the times may not show a change of code."""
    models: list[ModelPair]
    differences: list[Difference]


def comparison_document(a: Side, b: Side) -> ComparisonDocument:
    """Return two runs side by side; raises Incomparable if they share nothing."""
    names = compared(a, b)
    return ComparisonDocument(
        a=line_of(a.manifest, a.summary),
        b=line_of(b.manifest, b.summary),
        warnings=[line.text for line in doubts(a, b)],
        models=[*(_generation(a, b, name) for name in names), *_tensors(a, b)],
        differences=[Difference(what=what, a=one, b=other) for what, one, other in differing_facts(a, b)],
    )


def _generation(a: Side, b: Side, name: str) -> ModelPair:
    one, other = (side.summary.workloads[name].warm for side in (a, b))
    found, ratio = paired(a, b, name), None
    if found is not None:
        bounds = (found.interval.low, found.interval.high) if found.interval else (None, None)
        ratio = ApartRatio(items=found.words, ratio=found.ratio, low=bounds[0], high=bounds[1])
    unit = a.manifest.workloads[name].unit
    return ModelPair(
        name=name,
        kind=a.manifest.workloads[name].kind,
        a_median_ns=one.median if one else None,
        b_median_ns=other.median if other else None,
        ratio=ratio,
        no_ratio=None if ratio else EMULATED if _emulated(a, b) else f"no {unit} was timed in both runs",
    )


def _tensors(a: Side, b: Side) -> list[ModelPair]:
    return [_tensor(a, b, name) for name in shared_models(a.summary, b.summary)]


def _tensor(a: Side, b: Side, name: str) -> ModelPair:
    one, other = a.summary.workloads[name].by_item, b.summary.workloads[name].by_item
    change = None if _emulated(a, b) else items_change(a.summary.workloads[name], b.summary.workloads[name])
    return ModelPair(
        name=name,
        kind=a.summary.workloads[name].kind,
        a_median_ns=_only(one),
        b_median_ns=_only(other),
        ratio=None if change is None else ApartRatio(items=change[0], ratio=change[1], low=None, high=None),
        no_ratio=None if change is not None else EMULATED if _emulated(a, b) else "no item was timed in both runs",
    )


def _only(by_item: Mapping[str, ItemLatency]) -> float | None:
    """Return the median of the only item; different items are not pooled."""
    return next(iter(by_item.values())).median if len(by_item) == 1 else None


def _emulated(a: Side, b: Side) -> bool:
    return a.manifest.emulated or b.manifest.emulated
