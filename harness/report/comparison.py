"""The report of two runs side by side: A is the older or the baseline, B the candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.measure import Ratio, Times, paired_ratio
from harness.report.beside import ratio_cell
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, interval, megabytes, milliseconds, rate, ratio
from harness.report.models import items_change, models_comparison, shared_models
from harness.report.run import TONES, verdict_text
from harness.results.schema import Manifest, RunStatus, Summary


class Incomparable(UsageError):
    """The two runs have nothing in common that could be compared."""

    cure = "name two runs of the same model on the same words"


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    manifest: Manifest
    summary: Summary
    samples: Mapping[tuple[str, str], Times]
    """Warm samples in nanoseconds by language and word."""
    name: str
    """What the report calls it: A or B, or a run's letter on a page of many."""


def comparison_report(a: Side, b: Side) -> list[Block]:
    """Blocks of the comparison; raises Incomparable if the runs share neither timed words nor compared ones."""
    words, shared = compared(a, b), set(a.samples) & set(b.samples)
    found = paired_ratio(a.samples, b.samples) if shared else None
    emulated = a.manifest.emulated or b.manifest.emulated
    models = models_comparison(a.summary, b.summary, (a.name, b.name), emulated=emulated)
    of_words = [*_latency(a, b, found), *_accuracy(a, b)] if words else []
    return [*_head(a, b), *doubts(a, b), *of_words, *models, *_differences(a, b)]


def compared(a: Side, b: Side) -> bool:
    """Return whether the runs share words that were timed or compared; raises Incomparable if they share nothing."""
    words = bool(set(a.samples) & set(b.samples) or (a.summary.parity and b.summary.parity))
    if not words and not shared_models(a.summary, b.summary):
        raise Incomparable(f"runs {a.manifest.run_id} and {b.manifest.run_id} share no measured word")
    return words


def conclusion(found: Ratio, a: str = "A", b: str = "B") -> str:
    """What was found, in words of the sides named, with what it is worth: two sittings prove nothing."""
    text = ratio(found.ratio, *((found.interval.low, found.interval.high) if found.interval else (None, None)))
    return (
        f"{b} takes {text} of {a}'s time per word ({found.words} words), but they were measured apart: two sittings "
        "differ by a few percent, and by much more on a busy machine, without any change"
    )


def conclusions(a: Side, b: Side) -> list[Line]:
    """What was found of the words and of each model that both runs timed, in a line each."""
    if a.manifest.emulated or b.manifest.emulated:
        return [Line("times of an emulator are compared with nothing", Tone.UNSURE)]
    lines = []
    if set(a.samples) & set(b.samples):
        lines.append(Line(conclusion(paired_ratio(a.samples, b.samples), a.name, b.name)))
    elif a.manifest.words or b.manifest.words:
        lines.append(Line("no word was timed in both runs", Tone.UNSURE))
    for name in shared_models(a.summary, b.summary):
        change = items_change(a.summary.models[name], b.summary.models[name])
        if change is not None:
            count, found = change
            items = "1 item" if count == 1 else f"{count} items"
            lines.append(
                Line(
                    f"{name}: {b.name} takes {ratio(found)} of {a.name}'s time ({items}), but they were measured apart"
                )
            )
    return lines


def _head(a: Side, b: Side) -> Iterator[Block]:
    yield Heading(f"Runs {a.manifest.run_id} ({a.name}) and {b.manifest.run_id} ({b.name})")
    told = conclusions(a, b)
    yield from told
    if any(line.tone is Tone.PLAIN for line in told):
        yield Line("Side by side they are measured by harness nightly, or by pytest suites --baseline.")
    for side in (a, b):
        yield Line(
            f"{side.name}: {verdict_text(side.summary, emulated=side.manifest.emulated)}", TONES[side.summary.verdict]
        )


def doubts(a: Side, b: Side) -> Iterator[Line]:
    """Yield why the times of the two runs may not show a change of code."""
    for what, one, other in (
        ("device", _device(a.manifest), _device(b.manifest)),
        ("model", _checkpoint(a.manifest), _checkpoint(b.manifest)),
        ("threads", str(a.manifest.options.get("threads")), str(b.manifest.options.get("threads"))),
        ("batch size", str(a.manifest.options.get("batch_size")), str(b.manifest.options.get("batch_size"))),
        ("variant", _variant(a.summary), _variant(b.summary)),
    ):
        if one != other:
            yield Line(
                f"another {what}: {a.name} has {one}, {b.name} has {other}; the times do not show a change of code",
                Tone.UNSURE,
            )
    for name in shared_models(a.summary, b.summary):
        weights = [facts.weights_sha256[:12] for side in (a, b) if (facts := side.manifest.models.get(name))]
        if len(set(weights)) > 1:
            yield Line(f"other weights of {name}: {a.name} has {weights[0]}, {b.name} has {weights[1]}", Tone.UNSURE)
    words_a, words_b = a.manifest.words, b.manifest.words
    if words_a and words_b and words_a.sha256 != words_b.sha256:
        shared = len(set(a.samples) & set(b.samples))
        counts = f"{a.name} has {words_a.count}, {b.name} has {words_b.count}"
        yield Line(f"other words: {counts}; only the {shared} in both are paired", Tone.UNSURE)
    for side in (a, b):
        if side.manifest.status is not RunStatus.COMPLETE:
            yield Line(f"{side.name} is {side.manifest.status.value}: {side.manifest.reason}", Tone.UNSURE)


def _device(manifest: Manifest) -> str:
    return f"{manifest.device.get('name', '?')} ({manifest.device.get('cpu_model') or '?'})"


def _checkpoint(manifest: Manifest) -> str:
    return f"{manifest.checkpoint.label} {manifest.checkpoint.sha256[:12]}" if manifest.checkpoint else DASH


def _variant(summary: Summary) -> str:
    return summary.artifact.variant if summary.artifact else DASH


def _latency(a: Side, b: Side, found: Ratio | None) -> Iterator[Block]:
    one, other = a.summary.artifact, b.summary.artifact
    if one is None or other is None or a.manifest.emulated or b.manifest.emulated:
        return
    paired = conclusion_cell(found)
    rows = [
        [
            "median per word, ms",
            *(
                milliseconds(side.warm.median) + interval(side.warm.median_low, side.warm.median_high)
                for side in (one, other)
            ),
            paired,
        ],
        *(
            _row(f"{label}, ms", getattr(one.warm, key), getattr(other.warm, key))
            for label, key in (("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("MAD", "mad"), ("min", "min"))
        ),
        _row("per output token, ms", one.warm.ns_per_token, other.warm.ns_per_token),
        [
            "words per second",
            *(f"{side.warm.words_per_second:.1f}" for side in (one, other)),
            ratio(other.warm.words_per_second / one.warm.words_per_second),
        ],
        *(
            _row(f"{label}, ms", getattr(one, key), getattr(other, key))
            for label, key in (
                ("cold load", "cold_load"),
                ("first word", "first"),
                ("encoder", "encoder"),
                ("prefill", "prefill"),
                ("steps", "steps"),
                ("outside the calls", "other"),
            )
        ),
        [
            "peak memory",
            megabytes(one.peak_bytes),
            megabytes(other.peak_bytes),
            _quotient(one.peak_bytes, other.peak_bytes),
        ],
        *_sizes(a, b),
        ["time of PyTorch's", *(ratio_cell(side.summary.ratio) for side in (a, b)), ""],
    ]
    yield Heading("Latency")
    yield Table(
        ["", a.name, b.name, f"{b.name} / {a.name}, measured apart"],
        rows,
        note="The ratio of medians is the median of the words' own ratios, and its interval is over words alone.",
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
            sizes = getattr(one, key), getattr(other, key)
            yield [label, megabytes(sizes[0]), megabytes(sizes[1]), _quotient(*sizes)]


def _accuracy(a: Side, b: Side) -> Iterator[Block]:
    one, other = (_said(side.summary) for side in (a, b))
    if not one or not other:
        return
    rows = [
        [language, *(text for side in (one, other) for text in _rates(side, language))]
        for language in [*sorted((set(one) | set(other)) - {"all"}), "all"]
    ]
    yield Heading("Accuracy against gold pronunciations")
    yield Table(["language", *(f"{side.name} {figure}" for side in (a, b) for figure in ("PER", "WER"))], rows)


def _said(summary: Summary) -> dict[str, tuple[float, float]]:
    """The artifact's rates, the timed variant's if there are several."""
    names = [name for name in summary.accuracy if name != "pytorch"]
    name = _variant(summary) if _variant(summary) in names else next(iter(names), None)
    return {language: (found.per, found.wer) for language, found in summary.accuracy[name].items()} if name else {}


def _rates(side: dict[str, tuple[float, float]], language: str) -> list[str]:
    return [rate(value) for value in side[language]] if language in side else [DASH, DASH]


def _differences(a: Side, b: Side) -> Iterator[Block]:
    """What else was not the same, so that a difference can be explained."""
    rows = [[what, one or DASH, other or DASH] for what, one, other in differing_facts(a, b)]
    if rows:
        yield Heading("What else differs")
        yield Table(["", a.name, b.name], rows, numbers=False)


def differing_facts(a: Side, b: Side) -> list[tuple[str, str | None, str | None]]:
    """Return the name of each fact that differs, and what it is in both runs; None where a run does not have it."""
    one, other = (_facts(side.manifest) for side in (a, b))
    names = sorted(set(one) | set(other))
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def _facts(manifest: Manifest) -> dict[str, str]:
    facts = {f"option {key}": str(value) for key, value in manifest.options.items()}
    facts |= {f"version of {key}": value for key, value in manifest.versions.items()}
    facts |= {f"device {key}": str(value) for key, value in manifest.device.items()}
    facts |= {f"{name} archive": found.archive_sha256[:12] for name, found in manifest.variants.items()}
    facts |= {f"{name} runner": found.runner_sha256[:12] for name, found in manifest.variants.items()}
    if manifest.git:
        facts["source"] = manifest.git.commit[:12] + (" with changes" if manifest.git.dirty else "")
    return facts
