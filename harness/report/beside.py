"""Write ratios to PyTorch as text and cells, the same for every report: on one line with all doubts."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, ratio
from harness.report.sections import ReportSection
from harness.results.schema import Manifest, RatioSummary, Summary
from harness.results.schema.pairs import APART, INCONCLUSIVE


def beside_text(found: RatioSummary, whose: str = "PyTorch's time") -> str:
    """Return a ratio for a line of text, with every doubt about it."""
    busy = f" ({found.busy})" if found.busy else ""
    if not found.conclusive:
        return f"ratio to {whose} {INCONCLUSIVE}, too noisy{busy}"
    text = f"{ratio(found.ratio, found.low, found.high)} of {whose}"
    if not found.paired:
        return f"{text}, but {APART}, in two sessions: it may be wrong by a multiple"
    return f"{text}{busy}"


def ratio_cell(found: RatioSummary | None) -> str:
    """Return a ratio as short as possible, for a cell."""
    if found is None:
        return DASH
    if not found.conclusive:
        return INCONCLUSIVE
    text = ratio(found.ratio, found.low, found.high)
    return text if found.paired else f"{text} ({APART})"


def item_cell(found: RatioSummary | None, item: str) -> str:
    """Return the ratio of one item for a cell."""
    one = found.by_item.get(item) if found else None
    if one is None:
        return DASH
    return ratio(one.ratio, one.low, one.high) if one.conclusive else INCONCLUSIVE


def ratios(summary: Summary) -> dict[str, RatioSummary]:
    """Return the ratio of each workload of a run that has one."""
    return {name: found.ratio for name, found in summary.workloads.items() if found.ratio}


def beside_report(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Yield the section about PyTorch's times; nothing if a run neither timed PyTorch alternately nor was asked to."""
    found = {name: one for name, one in ratios(summary).items() if one.paired}
    ended = {name: facts.reason for name, facts in manifest.pairing.items() if facts.reason}
    if not found and not ended:
        return
    yield Heading("Compared with PyTorch")
    for name, reason in ended.items():
        yield Line(f"{name} was not completely timed with PyTorch: {reason}", Tone.UNSURE)
    for name, one in found.items():
        if not one.conclusive:
            range_ = "" if one.low is None or one.high is None else f": anything from {one.low:.3g} to {one.high:.3g}"
            yield Line(f"{name}: the rounds differ too much for a ratio{range_}", Tone.UNSURE)
        if one.busy:
            yield Line(f"{name}: while it was timed, {one.busy}", Tone.UNSURE)
    if not found:
        return
    yield Table(
        ["model", "interleaved", "rounds", "ours", "PyTorch", "ratio"],
        [
            [
                name,
                f"{one.items} of {one.of or one.items}",
                str(one.rounds or DASH),
                duration(one.artifact),
                duration(one.pytorch),
                ratio_cell(one),
            ]
            for name, one in found.items()
        ],
        note="Both sides took turns on the same items, a fixed sample of them, in this session. Times are "
        "geometric means over these items of each one's median; the ratio is the geometric mean of the items' own "
        "ratios, in brackets a 95 % interval from how the rounds differ.",
    )


SECTION = ReportSection(30, beside_report)
