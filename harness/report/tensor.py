"""Report tensor workloads: parity by each workload's own comparison, and each item's time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from harness.report.answers import answers_table
from harness.report.beside import beside_text, item_cell
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, margin, megabytes, ratio
from harness.report.sections import ReportSection
from harness.results.schema import Manifest, ParitySummary, Summary, WorkloadSummary
from harness.validate import Verdict

MOST_FAILURES, MOST_ITEMS = 20, 50
SHOWN = (Verdict.EQUAL, Verdict.TIE, Verdict.MISMATCH, Verdict.UNSTABLE, Verdict.MISSING)


def tensor_text(manifest: Manifest, summary: Summary) -> list[str]:
    """Return parts of the verdict's line: how many answers agree, and the time of each workload's items."""
    workloads = summary.unlike
    if not workloads:
        return []
    agreed = sum(_agreed(found) for found in workloads.values())
    ties = sum(found.count(Verdict.TIE) for found in workloads.values())
    compared = sum(found.compared for found in workloads.values())
    models = "1 model" if len(workloads) == 1 else f"{len(workloads)} models"
    parts = [f"{agreed} of {compared} answers of {models} agree{_as_ties(ties)}"]
    for name, found in workloads.items():
        parts += [
            f"{name} chooses PyTorch's token at {one.tokens_equal} of {one.tokens} steps, perplexity {_change(one)}"
            + ("" if one.kl is None else f", KL {one.kl:.2g}")
            for one in found.parity.values()
            if one.tokens
        ]
        if found.by_item:
            label = ", emulated" if manifest.emulated else ""
            share = f" ({beside_text(found.ratio, whose='PyTorch')})" if found.ratio else ""
            parts.append(f"{name} {_range(found)}{label}{share}")
    return parts


def tensor_report(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Yield the report of all tensor workloads; nothing if there are none."""
    workloads = summary.unlike
    if not workloads:
        return
    yield Heading("Models")
    if manifest.emulated:
        yield Line("An emulator's times are no measure of a phone's, and are compared with nothing.", Tone.UNSURE)
    yield Table(
        ["model", "answers", *(verdict.value for verdict in SHOWN), "max error", "of the largest", "compared"],
        [_parity_row(manifest, name, found) for name, found in workloads.items()],
        note="Answers of the parity order and of the timed passes. The error is the largest difference of any "
        "output from PyTorch's, and its share of that output's largest magnitude, whatever is compared.",
    )
    for name, found in workloads.items():
        failures = [f"{comparison}: {one}" for comparison, part in found.parity.items() for one in part.failures]
        for failure in failures[:MOST_FAILURES]:
            yield Line(failure, Tone.BAD)
        if len(failures) > MOST_FAILURES:
            yield Line(f"{name}: and {len(failures) - MOST_FAILURES} more, see parity.jsonl", Tone.BAD)
    yield Table(
        ["model", "cold load", "first call", "peak memory"],
        [
            [name, duration(found.cold_load), duration(found.first), megabytes(found.peak_bytes)]
            for name, found in workloads.items()
        ],
    )
    emulated = manifest.emulated
    tables = (
        answers_table(workloads),
        forced_table(workloads),
        items_table(workloads, emulated=emulated),
        rates_table(workloads, emulated=emulated),
    )
    for table in tables:
        if table:
            yield table


def forced_table(models: Mapping[str, WorkloadSummary]) -> Table | None:
    """Return a table of the language models that were fed with PyTorch's tokens; None if there are none."""
    rows = [
        [name, *_forced_row(found)] for name, model in models.items() for found in model.parity.values() if found.tokens
    ]
    if not rows:
        return None
    return Table(
        ["model", "steps", "PyTorch's token", "share", "perplexity", "PyTorch's", "change", "KL"],
        rows,
        note="PyTorch's tokens, or those of a text (--passages), are fed instead of the model's own, so that every "
        "step is compared, also after a token that differs. The perplexity is that of the tokens that are fed: how "
        "many equally likely ones are as hard to guess. "
        "KL is the divergence of the model's distribution of the next token from PyTorch's, in nats, its mean over the "
        "steps.",
    )


def _forced_row(found: ParitySummary) -> list[str]:
    steps, equal = found.tokens or 0, found.tokens_equal or 0
    perplexities = [DASH if one is None else f"{one:.4g}" for one in (found.perplexity, found.expected_perplexity)]
    return [str(steps), str(equal), f"{equal / steps:.2%}", *perplexities, _change(found), margin(found.kl)]


def _change(found: ParitySummary) -> str:
    ours, theirs = found.perplexity, found.expected_perplexity
    return DASH if ours is None or theirs is None else f"{ours / theirs - 1:+.2%}"


def items_table(models: Mapping[str, WorkloadSummary], *, emulated: bool) -> Table | None:
    """Return a table with a row for each item of each model; None if nothing was timed."""
    rows = [row for name, found in models.items() for row in _item_rows(name, found)]
    if not rows:
        return None
    label = "median (emulated)" if emulated else "median"
    beside = (
        "" if emulated else " PyTorch's time and the ratio are of the turns that both sides took on the item, in "
        "brackets a 95 % interval from how the rounds differ; items without them were not in the sample."
    )  # fmt: skip
    return Table(
        ["model", "item", "samples", label, "MAD", "min", "max", "PyTorch", "ratio"],
        rows,
        note=f"One call with the inputs at hand, warm samples, none is dropped.{beside}",
    )


def rates_table(models: Mapping[str, WorkloadSummary], *, emulated: bool) -> Table | None:
    """Return a table with the rates of each language model's prompts; None if there are none."""
    rows = [
        [
            name,
            item,
            str(found.tokens.prompt),
            str(found.tokens.new),
            duration(found.tokens.first_token),
            f"{found.tokens.prefill:.1f}",
            DASH if found.tokens.decode is None else f"{found.tokens.decode:.1f}",
        ]
        for name, model in models.items()
        for item, found in model.by_item.items()
        if found.tokens is not None
    ]
    if not rows:
        return None
    label = " (emulated)" if emulated else ""
    figures = [f"{one}{label}" for one in ("time to first token", "prefill, tokens/s", "decode, tokens/s")]
    return Table(
        ["model", "prompt", "tokens in", "tokens out", *figures],
        rows,
        note="Medians over warm samples, inside the calls. The prefill's rate is the prompt's tokens over the time to "
        "the first token. The decode's rate is that of the tokens after the first one.",
    )


def _item_rows(name: str, found: WorkloadSummary) -> Iterator[list[str]]:
    for item, ours in list(found.by_item.items())[:MOST_ITEMS]:
        theirs = found.ratio.by_item.get(item) if found.ratio else None
        times = [duration(value) for value in (ours.median, ours.mad, ours.min, ours.max)]
        pytorch = duration(theirs.pytorch if theirs else None)
        yield [name, item, str(ours.samples), *times, pytorch, item_cell(found.ratio, item)]
    if len(found.by_item) > MOST_ITEMS:
        yield [name, f"and {len(found.by_item) - MOST_ITEMS} more, see samples.jsonl", *[""] * 7]


def _range(found: WorkloadSummary) -> str:
    """Return the range of the items' medians, because the items have no common time."""
    medians = sorted(item.median for item in found.by_item.values())
    if len(medians) == 1:
        return duration(medians[0])
    return f"{duration(medians[0])} to {duration(medians[-1])} ({len(medians)} items)"


def _parity_row(manifest: Manifest, name: str, found: WorkloadSummary) -> list[str]:
    facts = manifest.workloads.get(name)
    counts = [str(found.count(verdict)) for verdict in SHOWN]
    errors = [margin(largest(found, error)) for error in ("max_error", "relative_error")]
    return [name, str(found.compared), *counts, *errors, facts.compare if facts else DASH]


def largest(found: WorkloadSummary, error: str) -> float | None:
    """Return the largest error of that name over all comparisons."""
    return max((one for part in found.parity.values() if (one := getattr(part, error)) is not None), default=None)


def _agreed(found: WorkloadSummary) -> int:
    return found.count(Verdict.EQUAL) + found.count(Verdict.TIE)


def shared_models(a: Summary, b: Summary) -> list[str]:
    """Return the tensor workloads that both runs compared or timed."""
    return [name for name in a.unlike if name in b.workloads]


def items_change(one: WorkloadSummary, other: WorkloadSummary) -> tuple[int, float] | None:
    """Return how many items both runs timed, and the geometric mean of the second run's times over the first's."""
    logs = [math.log(other.by_item[item].median / one.by_item[item].median) for item in _in_both(one, other)]
    return (len(logs), math.exp(sum(logs) / len(logs))) if logs else None


def _in_both(one: WorkloadSummary, other: WorkloadSummary) -> list[str]:
    return [item for item in one.by_item if item in other.by_item]


def tensor_comparison(a: Summary, b: Summary, names: tuple[str, str], *, emulated: bool) -> Iterator[Block]:
    """Yield the comparison of the models that two runs share; ``names`` are the sides' names."""
    shared = shared_models(a, b)
    if not shared:
        return
    yield Heading("Models")
    totals, rows = [], []
    for name in shared:
        one, other = a.workloads[name], b.workloads[name]
        change = None if emulated else items_change(one, other)
        count, overall = (0, DASH) if change is None else (change[0], ratio(change[1]))
        totals.append([name, agreeing(one), agreeing(other), str(count), overall])
        for item in _in_both(one, other)[: MOST_ITEMS if change else 0]:
            medians = [side.by_item[item].median for side in (one, other)]
            rows.append([name, item, *map(duration, medians), ratio(medians[1] / medians[0])])
    yield Table(
        ["model", *(f"{name} agree" for name in names), "items in both", f"{names[1]} / {names[0]}, measured apart"],
        totals,
        note="The geometric mean of the ratios of the items that both runs timed. They were timed in two sessions, "
        "which differ by a few percent, and by much more on a busy machine, without any change.",
    )
    if rows:
        yield Table(
            ["model", "item", *(f"{name} median" for name in names), f"{names[1]} / {names[0]}, measured apart"], rows
        )


def agreeing(found: WorkloadSummary) -> str:
    """Return how many answers agree with PyTorch's, of how many."""
    return f"{_agreed(found)} of {found.compared}{_as_ties(found.count(Verdict.TIE))}"


def _as_ties(count: int) -> str:
    return f", {count} of them as ties" if count else ""


SECTION = ReportSection(40, tensor_report)
