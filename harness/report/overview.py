"""The runs of a report side by side: a row each, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measure import paired_ratio
from harness.report.beside import ratio_cell
from harness.report.comparison import Side, conclusion_cell
from harness.report.document import Table
from harness.report.figures import DASH, interval, megabytes, milliseconds, rate
from harness.validate import Verdict


def overview(sides: Sequence[Side]) -> Table:
    """Verdict, time, accuracy and sizes of every run; ratios are to the first, and never of an emulator's times."""
    header = [
        "run",
        "verdict",
        "equal",
        "median per word, ms",
        "p95, ms",
        f"÷ {sides[0].name}, measured apart",
        "÷ PyTorch",
        "PER",
        "archive",
        "peak memory",
    ]
    return Table(
        header,
        [_row(sides[0], side) for side in sides],
        note="Brackets are bootstrap 95 % intervals over words within a run; runs were measured apart, "
        "and differ by a few percent without any change. Archive and PER are of the timed variant.",
    )


def _row(base: Side, side: Side) -> list[str]:
    manifest, summary = side.manifest, side.summary
    compared = sum(found.words for found in summary.parity.values())
    equal = sum(found.by_verdict.get(Verdict.EQUAL, 0) for found in summary.parity.values())
    artifact = summary.artifact
    facts = manifest.variants.get(artifact.variant) if artifact else None
    accuracy = summary.accuracy.get(artifact.variant, {}).get("all") if artifact else None
    warm = artifact.warm if artifact else None
    return [
        f"{side.name} (emulated)" if manifest.emulated else side.name,
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
