"""The report of one run: the verdict, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from harness.report.beside import APART, beside_report, beside_text, ratio_cell
from harness.report.conditions import order_warnings
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, duration, interval, margin, megabytes, milliseconds, moment, plain, rate, ratio
from harness.report.models import models_report, models_text
from harness.results.schema import (
    ArtifactLatency,
    LatencySummary,
    Manifest,
    ParitySummary,
    RunStatus,
    RunVerdict,
    Summary,
)
from harness.validate import Verdict

MOST_FAILURES = 20
TONES = {RunVerdict.PASS: Tone.GOOD, RunVerdict.FAIL: Tone.BAD, RunVerdict.INCONCLUSIVE: Tone.UNSURE}


def run_report(manifest: Manifest, summary: Summary) -> list[Block]:
    """Blocks of one run; works for incomplete runs with what they have."""
    return [
        *_head(manifest, summary),
        *_parity(manifest, summary),
        *_accuracy(summary),
        *_latency(manifest, summary),
        *beside_report(manifest, summary),
        *models_report(manifest, summary),
        *_gate(manifest),
        *_conditions(manifest),
        *_facts(manifest),
    ]


def verdict_text(summary: Summary, *, emulated: bool, words_of: int | None = None) -> str:
    """One line: the verdict and the figures a person asks for first; ``emulated`` labels the times, ``words_of`` is how
    many words there were where a sample of them was run."""
    words = max((found.words for found in summary.parity.values()), default=0)
    parts = [summary.verdict.value.upper()]
    if summary.parity:
        exact = sum(found.by_verdict.get(Verdict.EQUAL, 0) for found in summary.parity.values())
        ties = sum(found.by_verdict.get(Verdict.TIE, 0) for found in summary.parity.values())
        compared = sum(found.words for found in summary.parity.values())
        parts.append(f"{exact} of {compared} comparisons equal, {ties} ties ({_count(words, words_of)} words)")
    if summary.artifact:
        label = "median, emulated" if emulated else "median"
        parts.append(f"{duration(summary.artifact.warm.median)} per word ({label})")
    if summary.ratio:
        parts.append(beside_text(summary.ratio))
    parts += models_text(summary, emulated=emulated)
    return "  ·  ".join(parts)


def _count(ours: int, of: int | None) -> str:
    return f"{ours} of {of}" if of and of > ours else str(ours)


def _head(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    yield Heading(f"Run {manifest.run_id}")
    words_of = manifest.words.of if manifest.words else None
    yield Line(verdict_text(summary, emulated=manifest.emulated, words_of=words_of), TONES[summary.verdict])
    for reason in summary.reasons:
        yield Line(reason, TONES[summary.verdict])
    if manifest.status is not RunStatus.COMPLETE:
        yield Line(f"status {manifest.status.value}: {manifest.reason}", Tone.UNSURE)
    names = [*([manifest.checkpoint.label] if manifest.checkpoint else []), *manifest.models]
    words = manifest.words
    said = (
        f", {_count(words.count, words.of)} words of {len(words.languages)} languages ({words.source})" if words else ""
    )
    device = manifest.device
    for told in latency_warnings(manifest):
        yield Line(told, Tone.UNSURE)
    load, cores = _busiest(manifest), device.get("cores")
    if load is not None and cores and load > cores:
        yield Line(f"the machine was busy (load {load} on {cores} cores): the times include waiting", Tone.UNSURE)
    run = ", ".join(names) or "no model yet"
    yield Line(f"{run} on {device.get('kind', '?')} {device.get('cpu_model', '')}{said}")


def latency_warnings(manifest: Manifest) -> list[str]:
    """What was throttled, denied, lost or left behind while it was timed, a sentence each."""
    told = (warning for order in manifest.orders if order.purpose == "latency" for warning in order_warnings(order))
    return list(dict.fromkeys(told))


def _parity(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    if not summary.parity:
        return
    yield Heading("Parity with PyTorch")
    rows = [_parity_row(name, found) for name, found in summary.parity.items()]
    tolerance = manifest.options.get("tolerance")
    limit = f"{tolerance:g}" if isinstance(tolerance, float) else "?"
    yield Table(
        ["variant", "words", *(verdict.value for verdict in Verdict), "max margin error"],
        rows,
        note=f"A tie is a divergence where both sides' top-2 logit margin is at most {limit}. The margin error is "
        "the largest difference of the two sides' margins, the measured numeric error.",
    )
    errors = [found.max_margin_error for found in summary.parity.values() if found.max_margin_error is not None]
    if not manifest.allowance.exact:
        yield Line(_closeness(manifest, summary))
    elif isinstance(tolerance, float) and max(errors, default=0.0) > tolerance:
        yield Line(f"the numeric error {max(errors):.2g} is above the tolerance {tolerance:g}", Tone.UNSURE)
    tone = Tone.BAD if summary.verdict is RunVerdict.FAIL else Tone.PLAIN
    for name, found in summary.parity.items():
        for failure in found.failures[:MOST_FAILURES]:
            yield Line(f"{name}: {failure}", tone)
        if len(found.failures) > MOST_FAILURES:
            yield Line(f"{name}: and {len(found.failures) - MOST_FAILURES} more, see parity.jsonl", tone)


def _closeness(manifest: Manifest, summary: Summary) -> str:
    """What a lossy precision costs, beside what it may cost."""
    allowance, parts = manifest.allowance, []
    theirs = summary.accuracy.get("pytorch", {}).get("all")
    for name, found in summary.parity.items():
        agreement = DASH if found.agreement is None else f"{found.agreement:.2%}"
        ours = summary.accuracy.get(name, {}).get("all")
        change = f", PER {100 * (ours.per - theirs.per):+.2f} points" if ours and theirs else ""
        parts.append(f"{name} agrees on {agreement} of the words{change}")
    limits = f"at least {allowance.agreement:.2%} and at most {100 * allowance.per_change:+.2f} points are asked for"
    return f"{'; '.join(parts)} ({limits})"


def _parity_row(name: str, found: ParitySummary) -> list[str]:
    counts = [str(found.by_verdict.get(verdict, 0)) for verdict in Verdict]
    return [name, str(found.words), *counts, margin(found.max_margin_error)]


def _accuracy(summary: Summary) -> Iterator[Block]:
    if not summary.accuracy:
        return
    who = list(summary.accuracy)
    languages = sorted({language for found in summary.accuracy.values() for language in found} - {"all"})
    rows = []
    for language in [*languages, "all"]:
        cells = [summary.accuracy[name].get(language) for name in who]
        counts = next((str(cell.words) for cell in cells if cell), DASH)
        figures = [text for cell in cells for text in ((rate(cell.per), rate(cell.wer)) if cell else (DASH, DASH))]
        rows.append([language, counts, *figures])
    yield Heading("Accuracy against gold pronunciations")
    header = ["language", "words", *(f"{name} {figure}" for name in who for figure in ("PER", "WER"))]
    yield Table(header, rows, note="PER: phoneme edits per gold phoneme. WER: share of words with any edit.")


def _latency(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    emulated = manifest.emulated
    artifact, pytorch = summary.artifact, summary.pytorch
    if artifact is None and pytorch is None:
        return
    yield Heading("Latency (emulated)" if emulated else "Latency")
    if emulated:
        yield Line("An emulator's times say nothing about a phone, and are compared with nothing.", Tone.UNSURE)
        if manifest.options.get("timed_items") is not None:
            yield Line(
                "A smoke of the latency suite: one pass of a few words, without warm-up (--repeat asks for more)."
            )
    ours = artifact.warm if artifact else None
    name = f"artifact ({artifact.variant})" if artifact else "artifact"
    # In runs of before PyTorch's times are of all words, and of another sitting.
    theirs = pytorch if summary.ratio and not summary.ratio.paired else None
    rows = [
        ["median per word, ms", _median(ours), _median(theirs), ratio_cell(summary.ratio)],
        *(
            [f"{label}, ms", *_pair(getattr(ours, key, None), getattr(theirs, key, None))]
            for label, key in (("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("MAD", "mad"), ("min", "min"))
        ),
        ["per output token, ms", *_pair(_per_token(ours), _per_token(theirs))],
        ["words per second", *(f"{side.words_per_second:.1f}" if side else DASH for side in (ours, theirs)), ""],
    ]
    if artifact:
        rows += [[*row, DASH, ""] for row in _artifact_rows(artifact)]
    samples = " and ".join(f"{side.samples}" for side in (ours, theirs) if side)
    note = (
        f"The distribution over {ours.words if ours else 0} words, each a warm sample of its own; {samples} samples, "
        "none is dropped. Brackets are bootstrap 95 % intervals over words within this run."
    )
    header = ["", name]
    if theirs is not None:
        header += [f"PyTorch, {APART}", f"ratio, {APART}"]
        made = manifest.reference.get("made_unix_s")
        when = f" on {moment(made)}" if isinstance(made, int) else ""
        note += (
            f" PyTorch was timed in another sitting{when}, perhaps on a busy machine: the ratio may be wrong by a "
            "multiple. It is the median of the words' own ratios."
        )
    yield Table(header, [row[: len(header)] for row in rows], note=note)


def _gate(manifest: Manifest) -> Iterator[Block]:
    gate = manifest.gate
    if gate is None:
        return
    tone = {"pass": Tone.GOOD, "fail": Tone.BAD}.get(gate.verdict, Tone.UNSURE)
    yield Heading(f"Beside baseline {gate.baseline}")
    yield Line(f"{gate.verdict.upper()}: harness nights {gate.night_id}", tone)
    for cause in gate.causes:
        yield Line(cause, tone)


def _median(side: LatencySummary | None) -> str:
    return milliseconds(side.median) + interval(side.median_low, side.median_high) if side else DASH


def _per_token(side: LatencySummary | None) -> float | None:
    return side.ns_per_token if side else None


def _pair(ours: float | None, theirs: float | None) -> list[str]:
    both = ratio(ours / theirs) if ours is not None and theirs else DASH
    return [milliseconds(ours), milliseconds(theirs), both]


def _artifact_rows(artifact: ArtifactLatency) -> Iterator[list[str]]:
    yield ["cold load, ms", milliseconds(artifact.cold_load)]
    yield ["first word, ms", milliseconds(artifact.first)]
    parts = (("encoder", artifact.encoder), ("prefill", artifact.prefill), ("steps", artifact.steps))
    for label, value in (*parts, ("outside the calls", artifact.other)):
        share = f" ({value / artifact.warm.median:.0%})" if value is not None else ""
        yield [f"{label}, ms", milliseconds(value) + share]
    yield ["peak memory", megabytes(artifact.peak_bytes)]


def _conditions(manifest: Manifest) -> Iterator[Block]:
    """What the device was like before and after it was timed, what was set on it, and what it showed meanwhile."""
    for order in manifest.orders:
        if order.purpose != "latency" or not order.knobs:
            continue
        before, after = order.conditions_before, order.conditions_after
        shown = {key: (before.get(key), after.get(key)) for key in [*before, *(k for k in after if k not in before)]}
        yield Heading("Conditions while it was timed")
        if order.resumed:
            yield Line("the device was lost once and came back: the order went on where it had stopped", Tone.UNSURE)
        rows = [[key.replace("_", " "), *(plain(value) for value in pair)] for key, pair in shown.items()]
        rows += [[key.replace("_", " "), plain(value), ""] for key, value in order.observed.items()]
        yield Table(["", "before", "after"], rows, numbers=False)
        knobs = [
            [knob.name, knob.state, knob.detail, {True: "restored", False: "NOT restored", None: ""}[knob.restored]]
            for knob in order.knobs
        ]
        yield Table(["setting", "state", "what", "afterwards"], knobs, numbers=False)


def _facts(manifest: Manifest) -> Iterator[Block]:
    device, git = manifest.device, manifest.git
    rows = [
        ["device", f"{device.get('name', '?')}: {device.get('cpu_model') or '?'}, {device.get('cores') or '?'} cores"],
        ["memory", megabytes(device.get("memory_bytes"))],
        ["governor", str(device.get("governor") or "not readable")],
        ["system", f"{device.get('os') or '?'}, {device.get('kernel') or '?'}"],
        ["load", _load(manifest)],
        [
            "checkpoint",
            f"{manifest.checkpoint.label} {manifest.checkpoint.sha256[:12]}" if manifest.checkpoint else DASH,
        ],
        *(
            [
                f"{name} variant",
                f"{facts.target}, archive {facts.archive_sha256[:12]} ({megabytes(facts.archive_bytes)}), "
                f"runner {facts.runner_sha256[:12]} ({megabytes(facts.runner_bytes)})",
            ]
            for name, facts in manifest.variants.items()
        ),
        *(
            [f"model {name}", f"{facts.parameters:,} parameters, weights {facts.weights_sha256[:12]}, {facts.source}"]
            for name, facts in manifest.models.items()
        ),
        ["source", f"{git.commit[:12]}{' with changes' if git.dirty else ''}" if git else "not a git checkout"],
        ["options", ", ".join(f"{key}={value}" for key, value in manifest.options.items() if value is not None)],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())],
        [
            "command",
            " ".join([PurePath(manifest.command[0]).name, *manifest.command[1:]]) if manifest.command else DASH,
        ],
        ["time", f"{manifest.started} to {manifest.ended or '?'}"],
    ]
    yield Heading("Facts")
    yield Table(["", ""], rows, numbers=False)


def _busiest(manifest: Manifest) -> float | None:
    """The one-minute load before the latency order."""
    loads = [order.conditions_before.get("load_1min") for order in manifest.orders if order.purpose == "latency"]
    return max((load for load in loads if load is not None), default=None)


def _load(manifest: Manifest) -> str:
    load = _busiest(manifest)
    return DASH if load is None else f"{load} (1 minute, before the latency run)"
