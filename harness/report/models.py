"""The part of a report that is about models of tensors: parity by each model's own comparison, and each item's time."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.report.beside import beside_text, item_cell
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, margin, megabytes, ratio
from harness.results.schema import Manifest, ModelSummary, Summary
from harness.validate import Verdict

MOST_FAILURES, MOST_ITEMS = 20, 50
SHOWN = (Verdict.EQUAL, Verdict.TIE, Verdict.MISMATCH, Verdict.UNSTABLE, Verdict.MISSING)


def models_text(summary: Summary, *, emulated: bool) -> list[str]:
    """For the verdict's line: how many answers agree, and what each model's items take."""
    if not summary.models:
        return []
    agreed = sum(
        found.by_verdict.get(Verdict.EQUAL, 0) + found.by_verdict.get(Verdict.TIE, 0)
        for found in summary.models.values()
    )
    compared = sum(found.items for found in summary.models.values())
    models = "1 model" if len(summary.models) == 1 else f"{len(summary.models)} models"
    parts = [f"{agreed} of {compared} answers of {models} agree"]
    for name, found in summary.models.items():
        if found.by_item:
            label = ", emulated" if emulated else ""
            share = f" ({beside_text(found.ratio, whose='PyTorch')})" if found.ratio else ""
            parts.append(f"{name} {_range(found)}{label}{share}")
    return parts


def models_report(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    """Nothing for a run without models of tensors."""
    if not summary.models:
        return
    yield Heading("Models")
    if manifest.emulated:
        yield Line("An emulator's times say nothing about a phone, and are compared with nothing.", Tone.UNSURE)
    yield Table(
        ["model", "answers", *(verdict.value for verdict in SHOWN), "max error", "of the largest", "compared"],
        [_parity_row(manifest, name, found) for name, found in summary.models.items()],
        note="Answers of the parity order and of the timed passes. The error is the largest difference of any "
        "output from PyTorch's, and its share of that output's largest magnitude, whatever is compared.",
    )
    for name, found in summary.models.items():
        for failure in found.failures[:MOST_FAILURES]:
            yield Line(failure, Tone.BAD)
        if len(found.failures) > MOST_FAILURES:
            yield Line(f"{name}: and {len(found.failures) - MOST_FAILURES} more, see model_parity.jsonl", Tone.BAD)
    yield Table(
        ["model", "cold load", "first call", "peak memory"],
        [
            [name, duration(found.cold_load), duration(found.first), megabytes(found.peak_bytes)]
            for name, found in summary.models.items()
        ],
    )
    rows = [row for name, found in summary.models.items() for row in _item_rows(name, found)]
    if rows:
        label = "median (emulated)" if manifest.emulated else "median"
        yield Table(
            ["model", "item", "samples", label, "MAD", "min", "max", "PyTorch", "ratio"],
            rows,
            note="One call with the inputs at hand, warm samples, none is dropped. PyTorch's time and the ratio are "
            "of the turns that both sides took on the item, in brackets a 95 % interval from how the rounds differ; "
            "items without them were not in the sample.",
        )


def _item_rows(name: str, found: ModelSummary) -> Iterator[list[str]]:
    for item, ours in list(found.by_item.items())[:MOST_ITEMS]:
        theirs = found.ratio.by_item.get(item) if found.ratio else None
        times = [duration(value) for value in (ours.median, ours.mad, ours.min, ours.max)]
        pytorch = duration(theirs.pytorch if theirs else None)
        yield [name, item, str(ours.samples), *times, pytorch, item_cell(found.ratio, item)]
    if len(found.by_item) > MOST_ITEMS:
        yield [name, f"and {len(found.by_item) - MOST_ITEMS} more, see samples.jsonl", *[""] * 7]


def _range(found: ModelSummary) -> str:
    """What its items take, which have no time in common."""
    medians = sorted(item.median for item in found.by_item.values())
    if len(medians) == 1:
        return duration(medians[0])
    return f"{duration(medians[0])} to {duration(medians[-1])} ({len(medians)} items)"


def _parity_row(manifest: Manifest, name: str, found: ModelSummary) -> list[str]:
    facts = manifest.models.get(name)
    counts = [str(found.by_verdict.get(verdict, 0)) for verdict in SHOWN]
    errors = [margin(found.max_error), margin(found.relative_error)]
    return [name, str(found.items), *counts, *errors, facts.compare if facts else DASH]


def shared_models(a: Summary, b: Summary) -> list[str]:
    """The models that both runs compared or timed."""
    return [name for name in a.models if name in b.models]


def models_comparison(a: Summary, b: Summary, names: tuple[str, str], *, emulated: bool) -> Iterator[Block]:
    """Shared models of two runs, whose sides are called ``names``."""
    shared = shared_models(a, b)
    if not shared:
        return
    yield Heading("Models")
    totals, rows = [], []
    for name in shared:
        one, other = a.models[name], b.models[name]
        both = [] if emulated else [item for item in one.by_item if item in other.by_item]
        logs = [math.log(other.by_item[item].median / one.by_item[item].median) for item in both]
        overall = ratio(math.exp(sum(logs) / len(logs))) if logs else DASH
        totals.append([name, _agreeing(one), _agreeing(other), str(len(both)), overall])
        for item, log in list(zip(both, logs, strict=True))[:MOST_ITEMS]:
            medians = [duration(side.by_item[item].median) for side in (one, other)]
            rows.append([name, item, *medians, ratio(math.exp(log))])
    yield Table(
        ["model", *(f"{name} agree" for name in names), "items in both", f"{names[1]} / {names[0]}, measured apart"],
        totals,
        note="The geometric mean of the ratios of the items that both runs timed. They were timed in two sittings, "
        "which differ by a few percent, and by much more on a busy machine, without any change.",
    )
    if rows:
        yield Table(
            ["model", "item", *(f"{name} median" for name in names), f"{names[1]} / {names[0]}, measured apart"], rows
        )


def _agreeing(found: ModelSummary) -> str:
    agreed = found.by_verdict.get(Verdict.EQUAL, 0) + found.by_verdict.get(Verdict.TIE, 0)
    return f"{agreed} of {found.items}"
