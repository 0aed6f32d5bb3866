"""Report two runs side by side: A is the older one or the baseline, B the candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.devices.android.mode import AS_APP
from harness.measure import Ratio, Times, paired_ratio
from harness.report.beside import ratio_cell
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, interval, megabytes, milliseconds, rate, ratio
from harness.report.generation import PARTS
from harness.report.run import TONES, verdict_text
from harness.report.tensor import items_change, shared_models, tensor_comparison
from harness.results.schema import SELF_TEST, Manifest, RunStatus, Summary, WorkloadSummary

Samples = Mapping[tuple[str, str], Times]
"""Warm samples in nanoseconds, by an item's subset and label, such as language and word."""


class Incomparable(UsageError):
    """The two runs have nothing in common to compare."""

    cure = "name two runs of the same model on the same words"


@dataclass(frozen=True)
class Side:
    """Hold one of the two runs."""

    manifest: Manifest
    summary: Summary
    samples: Mapping[str, Samples]
    """The samples of each generation workload."""
    name: str
    """The run's name in the report: A or B, or its letter on a page of many runs."""


def comparison_report(a: Side, b: Side) -> list[Block]:
    """Return the blocks of the comparison; raises Incomparable if the runs share neither timed nor compared items."""
    names = compared(a, b)
    emulated = a.manifest.emulated or b.manifest.emulated
    models = tensor_comparison(a.summary, b.summary, (a.name, b.name), emulated=emulated)
    generated = [block for name in names for block in [*_latency(a, b, name), *_accuracy(a, b, name)]]
    return [*_head(a, b), *doubts(a, b), *generated, *models, *_differences(a, b)]


def compared(a: Side, b: Side) -> list[str]:
    """Return the generation workloads whose items both runs timed or compared.

    Raises Incomparable if they share nothing at all.
    """
    names = [name for name in a.summary.alike if _shared(a, b, name) or _both_compared(a, b, name)]
    if not names and not shared_models(a.summary, b.summary):
        raise Incomparable(f"runs {a.manifest.run_id} and {b.manifest.run_id} share no measured word")
    return names


def _shared(a: Side, b: Side, name: str) -> set[tuple[str, str]]:
    return set(a.samples.get(name, {})) & set(b.samples.get(name, {}))


def _both_compared(a: Side, b: Side, name: str) -> bool:
    sides = (a.summary.workloads.get(name), b.summary.workloads.get(name))
    return all(side is not None and side.parity for side in sides)


def paired(a: Side, b: Side, name: str) -> Ratio | None:
    """Return the ratio of the times of a workload's shared items; None without any."""
    return paired_ratio(a.samples[name], b.samples[name]) if _shared(a, b, name) else None


def conclusion(found: Ratio, a: str = "A", b: str = "B", unit: str = "word") -> str:
    """Return the finding with the sides' names, and its worth: two sessions prove nothing."""
    text = ratio(found.ratio, *((found.interval.low, found.interval.high) if found.interval else (None, None)))
    return (
        f"{b} takes {text} of {a}'s time per {unit} ({found.words} {unit}s), but they were measured apart: two "
        "sessions differ by a few percent, and by much more on a busy machine, without any change"
    )


def conclusions(a: Side, b: Side) -> list[Line]:
    """Return a line with the finding for each workload that both runs timed."""
    if a.manifest.emulated or b.manifest.emulated:
        return [Line("times of an emulator are compared with nothing", Tone.UNSURE)]
    lines = []
    for name, facts in {**a.manifest.alike, **b.manifest.alike}.items():
        found = paired(a, b, name)
        if found is not None:
            lines.append(Line(conclusion(found, a.name, b.name, facts.unit)))
        else:
            lines.append(Line(f"no {facts.unit} was timed in both runs", Tone.UNSURE))
    for name in shared_models(a.summary, b.summary):
        change = items_change(a.summary.workloads[name], b.summary.workloads[name])
        if change is not None:
            count, times = change
            items = "1 item" if count == 1 else f"{count} items"
            lines.append(
                Line(
                    f"{name}: {b.name} takes {ratio(times)} of {a.name}'s time ({items}), but they were measured apart"
                )
            )
    return lines


def _head(a: Side, b: Side) -> Iterator[Block]:
    yield Heading(f"Runs {a.manifest.run_id} ({a.name}) and {b.manifest.run_id} ({b.name})")
    lines = conclusions(a, b)
    yield from lines
    if any(line.tone is Tone.PLAIN for line in lines):
        yield Line("Side by side they are measured by harness nightly, or by pytest suites --baseline.")
    for side in (a, b):
        yield Line(f"{side.name}: {verdict_text(side.manifest, side.summary)}", TONES[side.summary.verdict])


def doubts(a: Side, b: Side) -> Iterator[Line]:
    """Yield why the times of the two runs may not show a change of code."""
    for what, one, other in (
        ("device", _device(a.manifest), _device(b.manifest)),
        (_mode_title(a, b), *(side.manifest.mode or DASH for side in (a, b))),
        ("model", *(_generations(side.manifest) for side in (a, b))),
        ("threads", str(a.manifest.options.get("threads")), str(b.manifest.options.get("threads"))),
        ("batch size", str(a.manifest.options.get("batch_size")), str(b.manifest.options.get("batch_size"))),
        ("variant", *(_variants(side.summary) for side in (a, b))),
    ):
        if one != other:
            yield Line(
                f"another {what}: {a.name} has {one}, {b.name} has {other}; the times do not show a change of code",
                Tone.UNSURE,
            )
    for name in shared_models(a.summary, b.summary):
        weights = [facts.weights_sha256[:12] for side in (a, b) if (facts := side.manifest.workloads.get(name))]
        if len(set(weights)) > 1:
            yield Line(f"other weights of {name}: {a.name} has {weights[0]}, {b.name} has {weights[1]}", Tone.UNSURE)
    for name, ours in a.manifest.alike.items():
        theirs = b.manifest.workloads.get(name)
        if theirs is not None and ours.items_sha256 != theirs.items_sha256:
            counts = f"{a.name} has {ours.items}, {b.name} has {theirs.items}"
            shared = len(_shared(a, b, name))
            yield Line(f"other {ours.unit}s: {counts}; only the {shared} in both are paired", Tone.UNSURE)
    for side in (a, b):
        if side.manifest.status is not RunStatus.COMPLETE:
            yield Line(f"{side.name} is {side.manifest.status.value}: {side.manifest.reason}", Tone.UNSURE)


def _mode_title(a: Side, b: Side) -> str:
    return "way of running" if SELF_TEST in (a.manifest.mode, b.manifest.mode) else "Android mode"


def _device(manifest: Manifest) -> str:
    name = str(manifest.device.get("name", "?"))
    # Another mode of the same phone has a line of its own.
    name = name.removesuffix(AS_APP) if manifest.mode == "app" else name
    return f"{name} ({manifest.device.get('cpu_model') or '?'})"


def _generations(manifest: Manifest) -> str:
    found = manifest.alike.values()
    return ", ".join(f"{facts.label} {facts.weights_sha256[:12]}" for facts in found) or DASH


def _variants(summary: Summary) -> str:
    return ", ".join(found.variant for found in summary.alike.values() if found.variant) or DASH


def _latency(a: Side, b: Side, name: str) -> Iterator[Block]:
    one, other = (side.summary.workloads.get(name) for side in (a, b))
    if one is None or other is None or not one.warm or not other.warm or a.manifest.emulated or b.manifest.emulated:
        return
    unit = a.manifest.workloads[name].unit
    ours, theirs = one.warm, other.warm
    rows = [
        [
            f"median per {unit}, ms",
            *(milliseconds(warm.median) + interval(warm.median_low, warm.median_high) for warm in (ours, theirs)),
            conclusion_cell(paired(a, b, name)),
        ],
        *(
            _row(f"{label}, ms", getattr(ours, key), getattr(theirs, key))
            for label, key in (("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("MAD", "mad"), ("min", "min"))
        ),
        _row("per output token, ms", ours.ns_per_token, theirs.ns_per_token),
        [
            f"{unit}s per second",
            *(f"{warm.items_per_second:.1f}" for warm in (ours, theirs)),
            ratio(theirs.items_per_second / ours.items_per_second),
        ],
        _row("cold load, ms", one.cold_load, other.cold_load),
        _row(f"first {unit}, ms", one.first, other.first),
        *(_row(f"{label}, ms", one.parts.get(part), other.parts.get(part)) for label, part in PARTS.items()),
        [
            "peak memory",
            megabytes(one.peak_bytes),
            megabytes(other.peak_bytes),
            _quotient(one.peak_bytes, other.peak_bytes),
        ],
        *_sizes(a, b),
        ["time of PyTorch's", *(ratio_cell(side.ratio) for side in (one, other)), ""],
    ]
    yield Heading("Latency")
    yield Table(
        ["", a.name, b.name, f"{b.name} / {a.name}, measured apart"],
        rows,
        note=f"The ratio of medians is the median of the {unit}s' own ratios, and its interval is over {unit}s alone.",
    )


def conclusion_cell(found: Ratio | None) -> str:
    if found is None:
        return DASH
    bounds = (found.interval.low, found.interval.high) if found.interval else (None, None)
    return ratio(found.ratio, *bounds)


def _row(label: str, one: float | None, other: float | None) -> list[str]:
    return [label, milliseconds(one), milliseconds(other), _quotient(one, other)]


def _quotient(one: float | None, other: float | None) -> str:
    return ratio(other / one) if one and other is not None else DASH


def _sizes(a: Side, b: Side) -> Iterator[list[str]]:
    for name in sorted(set(a.manifest.variants) & set(b.manifest.variants)):
        one, other = a.manifest.variants[name], b.manifest.variants[name]
        for label, key in ((f"{name} archive", "archive_bytes"), (f"{name} runner", "runner_bytes")):
            if key == "runner_bytes" and not (one.has_runner and other.has_runner):
                continue
            sizes = getattr(one, key), getattr(other, key)
            yield [label, megabytes(sizes[0]), megabytes(sizes[1]), _quotient(*sizes)]


def _accuracy(a: Side, b: Side, name: str) -> Iterator[Block]:
    one, other = (_accuracies(side.summary.workloads.get(name)) for side in (a, b))
    if not one or not other:
        return
    rows = [
        [subset, *(text for side in (one, other) for text in _rates(side, subset))]
        for subset in [*sorted((set(one) | set(other)) - {"all"}), "all"]
    ]
    yield Heading("Accuracy against gold pronunciations")
    yield Table(["language", *(f"{side.name} {figure}" for side in (a, b) for figure in ("PER", "WER"))], rows)


def _accuracies(found: WorkloadSummary | None) -> dict[str, tuple[float, float]]:
    """Return the artifact's PER and WER by subset; those of the timed variant if there are several."""
    names = [name for name in found.accuracy if name != "pytorch"] if found else []
    if found is None or not names:
        return {}
    name = found.variant if found.variant in names else names[0]
    return {subset: (one.per, one.wer) for subset, one in found.accuracy[name].items()}


def _rates(side: dict[str, tuple[float, float]], language: str) -> list[str]:
    return [rate(value) for value in side[language]] if language in side else [DASH, DASH]


def _differences(a: Side, b: Side) -> Iterator[Block]:
    """Yield everything else that differs, so that a reader can explain a difference."""
    rows = [[what, one or DASH, other or DASH] for what, one, other in differing_facts(a, b)]
    if rows:
        yield Heading("What else differs")
        yield Table(["", a.name, b.name], rows, numbers=False)


def differing_facts(a: Side, b: Side) -> list[tuple[str, str | None, str | None]]:
    """Return the name of each differing fact and its value in both runs; a missing value is None."""
    one, other = (_facts(side.manifest) for side in (a, b))
    names = sorted(set(one) | set(other))
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def _facts(manifest: Manifest) -> dict[str, str]:
    facts = {f"option {key}": str(value) for key, value in manifest.options.items()}
    facts |= {f"version of {key}": value for key, value in manifest.versions.items()}
    facts |= {f"device {key}": str(value) for key, value in manifest.device.items()}
    facts |= {f"{name} archive": found.archive_sha256[:12] for name, found in manifest.variants.items()}
    variants = manifest.variants.items()
    facts |= {f"{name} runner": found.runner_sha256[:12] for name, found in variants if found.has_runner}
    if manifest.git:
        facts["source"] = manifest.git.commit[:12] + (" with changes" if manifest.git.dirty else "")
    return facts
