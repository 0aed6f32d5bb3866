"""The document of ``harness compare``. It imports the statistics, which take a second to load."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.documents.base import Document, Number, Part
from harness.documents.runs import EMULATED, Kind, Ratio, RunLine, line_of
from harness.measure import paired_ratio
from harness.models.sources import G2P
from harness.report.comparison import Side, compared, differing_facts, doubts
from harness.report.models import items_change, shared_models
from harness.results.schema import ModelSummary


class Difference(Part):
    """A fact that the two runs do not share; null where a run does not have it."""

    what: str
    a: str | None
    b: str | None


class ModelPair(Part):
    """One model that both runs have. The two runs were not measured in one sitting."""

    name: str
    kind: Kind
    a_median_ns: Number
    b_median_ns: Number
    ratio: Ratio | None
    """B's time over A's, from the pairs of items that both timed."""
    no_ratio: str | None


class ComparisonDocument(Document):
    """`harness compare`: run B beside run A."""

    schema_name: Literal["harness.comparison/1"] = Field(default="harness.comparison/1", alias="schema")
    a: RunLine
    b: RunLine
    measured_together: Literal[False] = False
    """Two stored runs never are: only `harness nightly` measures both sides in one sitting."""
    warnings: list[str]
    """Why the times may not show a change of code."""
    models: list[ModelPair]
    differences: list[Difference]


def comparison_document(a: Side, b: Side) -> ComparisonDocument:
    """Return two runs side by side; raises Incomparable if they share nothing."""
    compared(a, b)
    return ComparisonDocument(
        a=line_of(a.manifest, a.summary),
        b=line_of(b.manifest, b.summary),
        warnings=[line.text for line in doubts(a, b)],
        models=[*_words(a, b), *_tensors(a, b)],
        differences=[Difference(what=what, a=one, b=other) for what, one, other in differing_facts(a, b)],
    )


def _words(a: Side, b: Side) -> list[ModelPair]:
    one, other = a.summary.artifact, b.summary.artifact
    if not one and not other and not (a.summary.parity and b.summary.parity):
        return []
    ratio = None
    if set(a.samples) & set(b.samples):
        found = paired_ratio(a.samples, b.samples)
        bounds = (found.interval.low, found.interval.high) if found.interval else (None, None)
        ratio = _apart(found.words, found.ratio, *bounds)
    return [
        ModelPair(
            name=G2P,
            kind="generation",
            a_median_ns=one.warm.median if one else None,
            b_median_ns=other.warm.median if other else None,
            ratio=ratio,
            no_ratio=None if ratio else EMULATED if _emulated(a, b) else "no word was timed in both runs",
        )
    ]


def _tensors(a: Side, b: Side) -> list[ModelPair]:
    pairs = []
    for name in shared_models(a.summary, b.summary):
        one, other = a.summary.models[name], b.summary.models[name]
        change = None if _emulated(a, b) else items_change(one, other)
        pairs.append(
            ModelPair(
                name=name,
                kind="tensor",
                a_median_ns=_only_median(one),
                b_median_ns=_only_median(other),
                ratio=None if change is None else _apart(*change),
                no_ratio=EMULATED if _emulated(a, b) else "no item was timed in both runs" if change is None else None,
            )
        )
    return pairs


def _only_median(model: ModelSummary) -> float | None:
    """Return the median of a model's only item; several items have none in common."""
    medians = [item.median for item in model.by_item.values()]
    return medians[0] if len(medians) == 1 else None


def _apart(items: int, ratio: float, low: float | None = None, high: float | None = None) -> Ratio:
    return Ratio(items=items, ratio=ratio, low=low, high=high, together=False, conclusive=False)


def _emulated(a: Side, b: Side) -> bool:
    return a.manifest.emulated or b.manifest.emulated
