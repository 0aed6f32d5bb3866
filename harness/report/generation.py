"""Report a generation workload: parity, accuracy against gold pronunciations, and one latency."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.beside import beside_text, ratio_cell
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, interval, margin, megabytes, milliseconds, moment, rate, ratio
from harness.report.sections import ReportSection
from harness.results.schema import LatencySummary, Manifest, ParitySummary, RunVerdict, Summary, WorkloadSummary
from harness.results.schema.pairs import APART
from harness.validate import Verdict

MOST_FAILURES = 20


def generation_text(manifest: Manifest, summary: Summary) -> list[str]:
    """Return parts of the verdict's line: how many comparisons are equal, and the time of an item."""
    parts = []
    for name, found in summary.alike.items():
        facts = manifest.workloads.get(name)
        unit = facts.unit if facts else "item"
        if found.parity:
            items = max(one.items for one in found.parity.values())
            counted = count(items, facts.items_of if facts else None)
            equal, ties = (found.count(verdict) for verdict in (Verdict.EQUAL, Verdict.TIE))
            parts.append(f"{equal} of {found.compared} comparisons equal, {ties} ties ({counted} {unit}s)")
        if found.warm:
            label = "median, emulated" if manifest.emulated else "median"
            parts.append(f"{duration(found.warm.median)} per {unit} ({label})")
        if found.ratio:
            parts.append(beside_text(found.ratio))
    return parts


def count(ours: int, of: int | None) -> str:
    """Return a number of items, with the total if they are a sample."""
    return f"{ours} of {of}" if of and of > ours else str(ours)


def generation_report(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Yield the report of all generation workloads; nothing if there are none."""
    for name, found in summary.alike.items():
        facts = manifest.workloads.get(name)
        unit = facts.unit if facts else "item"
        yield from _parity(manifest, found, unit, summary.verdict)
        yield from _accuracy(found, unit)
        yield from _latency(manifest, found, unit)


def _parity(manifest: Manifest, found: WorkloadSummary, unit: str, verdict: RunVerdict) -> Iterator[Block]:
    if not found.parity:
        return
    yield Heading("Parity with PyTorch")
    rows = [_parity_row(name, one) for name, one in found.parity.items()]
    tolerance = manifest.options.get("tolerance")
    limit = f"{tolerance:g}" if isinstance(tolerance, float) else "?"
    yield Table(
        ["variant", f"{unit}s", *(verdict.value for verdict in Verdict), "max margin error"],
        rows,
        note=f"A tie is a divergence where both sides' top-2 logit margin is at most {limit}. The margin error is "
        "the largest difference of the two sides' margins, the measured numeric error.",
    )
    errors = [one.max_margin_error for one in found.parity.values() if one.max_margin_error is not None]
    if not manifest.policy.exact:
        yield Line(_closeness(manifest, found, unit))
    elif isinstance(tolerance, float) and max(errors, default=0.0) > tolerance:
        yield Line(f"the numeric error {max(errors):.2g} is above the tolerance {tolerance:g}", Tone.UNSURE)
    tone = Tone.BAD if verdict is RunVerdict.FAIL else Tone.PLAIN
    for name, one in found.parity.items():
        for failure in one.failures[:MOST_FAILURES]:
            yield Line(f"{name}: {failure}", tone)
        if len(one.failures) > MOST_FAILURES:
            yield Line(f"{name}: and {len(one.failures) - MOST_FAILURES} more, see parity.jsonl", tone)


def _closeness(manifest: Manifest, found: WorkloadSummary, unit: str) -> str:
    """Return the loss of a lossy precision, and its limits."""
    policy, parts = manifest.policy, []
    theirs = found.accuracy.get("pytorch", {}).get("all")
    for name, one in found.parity.items():
        agreement = DASH if one.agreement is None else f"{one.agreement:.2%}"
        ours = found.accuracy.get(name, {}).get("all")
        change = f", PER {100 * (ours.per - theirs.per):+.2f} points" if ours and theirs else ""
        parts.append(f"{name} agrees on {agreement} of the {unit}s{change}")
    limits = f"at least {policy.agreement:.2%} and at most {100 * policy.per_change:+.2f} points are asked for"
    return f"{'; '.join(parts)} ({limits})"


def _parity_row(name: str, found: ParitySummary) -> list[str]:
    counts = [str(found.by_verdict.get(verdict, 0)) for verdict in Verdict]
    return [name, str(found.items), *counts, margin(found.max_margin_error)]


def _accuracy(found: WorkloadSummary, unit: str) -> Iterator[Block]:
    if not found.accuracy:
        return
    who = list(found.accuracy)
    subsets = sorted({subset for one in found.accuracy.values() for subset in one} - {"all"})
    rows = []
    for subset in [*subsets, "all"]:
        cells = [found.accuracy[name].get(subset) for name in who]
        counts = next((str(cell.items) for cell in cells if cell), DASH)
        figures = [text for cell in cells for text in ((rate(cell.per), rate(cell.wer)) if cell else (DASH, DASH))]
        rows.append([subset, counts, *figures])
    yield Heading("Accuracy against gold pronunciations")
    header = ["language", f"{unit}s", *(f"{name} {figure}" for name in who for figure in ("PER", "WER"))]
    yield Table(header, rows, note="PER: phoneme edits per gold phoneme. WER: share of words with any edit.")


def _latency(manifest: Manifest, found: WorkloadSummary, unit: str) -> Iterator[Block]:
    emulated = manifest.emulated
    ours, pytorch = found.warm, found.pytorch
    if ours is None and pytorch is None:
        return
    yield Heading("Latency (emulated)" if emulated else "Latency")
    if emulated:
        yield Line("An emulator's times are no measure of a phone's, and are compared with nothing.", Tone.UNSURE)
        if manifest.options.get("timed_items") is not None:
            yield Line(
                f"A smoke of the latency suite: one pass of a few {unit}s, without warm-up (--repeat asks for more)."
            )
    name = f"artifact ({found.variant})" if found.variant else "artifact"
    # In older runs PyTorch's times cover all items, and come from another session.
    theirs = pytorch if found.ratio and not found.ratio.paired else None
    rows = [
        [f"median per {unit}, ms", _median(ours), _median(theirs), ratio_cell(found.ratio)],
        *(
            [f"{label}, ms", *_pair(getattr(ours, key, None), getattr(theirs, key, None))]
            for label, key in (("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("MAD", "mad"), ("min", "min"))
        ),
        ["per output token, ms", *_pair(_per_token(ours), _per_token(theirs))],
        [f"{unit}s per second", *(f"{side.items_per_second:.1f}" if side else DASH for side in (ours, theirs)), ""],
    ]
    if ours:
        rows += [[*row, DASH, ""] for row in _own_rows(found, ours, unit)]
    samples = " and ".join(f"{side.samples}" for side in (ours, theirs) if side)
    note = (
        f"The distribution over {ours.items if ours else 0} {unit}s, each a warm sample of its own; {samples} samples, "
        f"none is dropped. Brackets are bootstrap 95 % intervals over {unit}s within this run."
    )
    header = ["", name]
    if theirs is not None:
        header += [f"PyTorch, {APART}", f"ratio, {APART}"]
        made = manifest.reference.get("made_unix_s")
        when = f" on {moment(made)}" if isinstance(made, int) else ""
        note += (
            f" PyTorch was timed in another session{when}, perhaps on a busy machine: the ratio may be wrong by a "
            f"multiple. It is the median of the {unit}s' own ratios."
        )
    yield Table(header, [row[: len(header)] for row in rows], note=note)


def _median(side: LatencySummary | None) -> str:
    return milliseconds(side.median) + interval(side.median_low, side.median_high) if side else DASH


def _per_token(side: LatencySummary | None) -> float | None:
    return side.ns_per_token if side else None


def _pair(ours: float | None, theirs: float | None) -> list[str]:
    both = ratio(ours / theirs) if ours is not None and theirs else DASH
    return [milliseconds(ours), milliseconds(theirs), both]


def _own_rows(found: WorkloadSummary, warm: LatencySummary, unit: str) -> Iterator[list[str]]:
    yield ["cold load, ms", milliseconds(found.cold_load)]
    yield [f"first {unit}, ms", milliseconds(found.first)]
    for label, part in PARTS.items():
        spent = found.parts.get(part)
        share = f" ({spent / warm.median:.0%})" if spent is not None else ""
        yield [f"{label}, ms", milliseconds(spent) + share]
    yield ["peak memory", megabytes(found.peak_bytes)]


PARTS = {"encoder": "encoder", "prefill": "prefill", "steps": "step", "outside the calls": "other"}
"""What a person calls the parts of a generation's time."""


SECTION = ReportSection(20, generation_report)
