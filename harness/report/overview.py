"""Show the runs of a report side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.measure import paired_ratio
from harness.report.beside import ratio_cell
from harness.report.comparison import Samples, Side, conclusion_cell
from harness.report.document import Table
from harness.report.figures import DASH, interval, megabytes, milliseconds, rate, ratio
from harness.report.tensor import agreeing, items_change
from harness.results.schema import WorkloadSummary
from harness.validate import Verdict


def overview(sides: Sequence[Side]) -> list[Table]:
    """Return a table for each generation workload, and one of the tensor workloads, with a row for each run."""
    names = list(dict.fromkeys(name for side in sides for name in side.manifest.alike))
    empty = [side for side in sides if not side.manifest.workloads]
    tables = [_generation(sides[0], [s for s in sides if name in s.manifest.workloads], name) for name in names]
    if empty and not names:
        tables = [_generation(sides[0], empty, "")]
    rows = [row for side in sides for row in _tensors(sides[0], side)]
    if not rows:
        return tables
    header = ["run", "model", "verdict", "agree", f"÷ {sides[0].name}, measured apart", "÷ PyTorch", "peak memory"]
    note = (
        "Ratios are geometric means over the items that both sides ran; runs were measured apart, and differ by a few "
        "percent without any change."
    )
    return [*tables, Table(header, rows, note=note)]


def _generation(base: Side, sides: Sequence[Side], name: str) -> Table:
    """Return verdict, time, accuracy and sizes of every run. Ratios are to the first, never of an emulator's times."""
    unit = next((side.manifest.workloads[name].unit for side in sides if name in side.manifest.workloads), "item")
    header = [
        "run",
        "verdict",
        "equal",
        f"median per {unit}, ms",
        "p95, ms",
        f"÷ {base.name}, measured apart",
        "÷ PyTorch",
        "PER",
        "archive",
        "peak memory",
    ]
    return Table(
        header,
        [_row(base, side, name) for side in sides],
        note=f"Brackets are bootstrap 95 % intervals over {unit}s within a run; runs were measured apart, "
        "and differ by a few percent without any change. Archive and PER are of the timed variant.",
    )


def _tensors(base: Side, side: Side) -> Iterator[list[str]]:
    emulated = side.manifest.emulated
    for name, found in side.summary.unlike.items():
        first = base.summary.workloads.get(name)
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


def _row(base: Side, side: Side, name: str) -> list[str]:
    manifest, summary = side.manifest, side.summary
    found = summary.workloads.get(name) or WorkloadSummary(kind="generation")
    facts = manifest.variants.get(found.variant)
    accuracy = found.accuracy.get(found.variant, {}).get("all")
    warm = found.warm
    return [
        _name(side),
        summary.verdict.value,
        f"{found.count(Verdict.EQUAL)} of {found.compared}" if found.compared else DASH,
        milliseconds(warm.median) + interval(warm.median_low, warm.median_high) if warm else DASH,
        milliseconds(warm.p95) if warm else DASH,
        _against(base.samples.get(name, {}), side.samples.get(name, {})) if side is not base else DASH,
        ratio_cell(found.ratio),
        rate(accuracy.per) if accuracy else DASH,
        megabytes(facts.archive_bytes) if facts else DASH,
        megabytes(found.peak_bytes) if warm and found.peak_bytes is not None else DASH,
    ]


def _against(base: Samples, other: Samples) -> str:
    """Return the ratio of two sides; a dash if nothing is shared. An emulated side has no samples here."""
    return conclusion_cell(paired_ratio(base, other)) if set(base) & set(other) else DASH
