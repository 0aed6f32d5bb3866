"""The runs of a report side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.measure import paired_ratio
from harness.report.beside import ratio_cell
from harness.report.comparison import Side, conclusion_cell
from harness.report.document import Table
from harness.report.figures import DASH, interval, megabytes, milliseconds, rate, ratio
from harness.report.models import agreeing, items_change
from harness.validate import Verdict


def overview(sides: Sequence[Side]) -> list[Table]:
    """A table of the runs with words, and one of the models of tensors: a row for each, whatever their number."""
    words = [side for side in sides if side.manifest.words or not side.summary.models]
    tables = [_words(sides[0], words)] if words else []
    rows = [row for side in sides for row in _models(sides[0], side)]
    if not rows:
        return tables
    header = ["run", "model", "verdict", "agree", f"÷ {sides[0].name}, measured apart", "÷ PyTorch", "peak memory"]
    note = (
        "Ratios are geometric means over the items that both sides ran; runs were measured apart, and differ by a few "
        "percent without any change."
    )
    return [*tables, Table(header, rows, note=note)]


def _words(base: Side, sides: Sequence[Side]) -> Table:
    """Verdict, time, accuracy and sizes of every run; ratios are to the first, and never of an emulator's times."""
    header = [
        "run",
        "verdict",
        "equal",
        "median per word, ms",
        "p95, ms",
        f"÷ {base.name}, measured apart",
        "÷ PyTorch",
        "PER",
        "archive",
        "peak memory",
    ]
    return Table(
        header,
        [_row(base, side) for side in sides],
        note="Brackets are bootstrap 95 % intervals over words within a run; runs were measured apart, "
        "and differ by a few percent without any change. Archive and PER are of the timed variant.",
    )


def _models(base: Side, side: Side) -> Iterator[list[str]]:
    emulated = side.manifest.emulated
    for name, found in side.summary.models.items():
        first = base.summary.models.get(name)
        apart = first is None or base is side or emulated or base.manifest.emulated
        change = None if apart or first is None else items_change(first, found)
        yield [
            _name(side),
            name,
            side.summary.verdict.value,
            agreeing(found),
            ratio(change[1]) if change else DASH,
            ratio_cell(found.ratio),
            megabytes(found.peak_bytes),
        ]


def _name(side: Side) -> str:
    return f"{side.name} (emulated)" if side.manifest.emulated else side.name


def _row(base: Side, side: Side) -> list[str]:
    manifest, summary = side.manifest, side.summary
    compared = sum(found.words for found in summary.parity.values())
    equal = sum(found.by_verdict.get(Verdict.EQUAL, 0) for found in summary.parity.values())
    artifact = summary.artifact
    facts = manifest.variants.get(artifact.variant) if artifact else None
    accuracy = summary.accuracy.get(artifact.variant, {}).get("all") if artifact else None
    warm = artifact.warm if artifact else None
    return [
        _name(side),
        summary.verdict.value,
        f"{equal} of {compared}" if compared else DASH,
        milliseconds(warm.median) + interval(warm.median_low, warm.median_high) if warm else DASH,
        milliseconds(warm.p95) if warm else DASH,
        _against(base, side),
        ratio_cell(summary.ratio),
        rate(accuracy.per) if accuracy else DASH,
        megabytes(facts.archive_bytes) if facts else DASH,
        megabytes(artifact.peak_bytes) if artifact and artifact.peak_bytes is not None else DASH,
    ]


def _against(base: Side, side: Side) -> str:
    """An emulated side has no samples here, so nothing is shared."""
    if base is side or not set(base.samples) & set(side.samples):
        return DASH
    return conclusion_cell(paired_ratio(base.samples, side.samples))
